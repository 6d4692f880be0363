//! Ringing people for one call, as a value: who is rung, what comes of it, and when. No lock, no clock, no task.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::{
    clock::UnixMs,
    id::{CallId, RoomId, SignInId, UserId},
    store::calls::Outcome,
};

/// It rings this long.
pub const RING_SPAN: Duration = Duration::from_secs(30);
/// What came of it is told this long, to devices that were away for a moment.
pub const TOLD_SPAN: Duration = Duration::from_secs(60);
/// People rung for one call, all together.
pub const RUNG_MAX: usize = 50;

/// Somebody who is or was rung.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    /// What has come of it.
    pub outcome: Outcome,
    /// Since when it rings or rang.
    pub rung_at: UnixMs,
    /// When that came of it.
    pub outcome_at: Option<UnixMs>,
    /// The device on which they answered, in either way.
    pub answered_on: Option<SignInId>,
}

/// Something to carry out after a call of a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Somebody is rung.
    Rang(UserId),
    /// That came of it.
    Answered(UserId, Outcome),
    /// Nobody is rung any more; `is_answered`: somebody came.
    Over {
        /// Somebody accepted.
        is_answered: bool,
    },
}

/// Why something cannot be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NoRing {
    /// They are not rung for this call.
    #[error("you are not rung for this call")]
    NotRung,
    /// It does not ring any more.
    #[error("this call does not ring any more")]
    Over,
    /// It has been answered already, on another device perhaps.
    #[error("this call was answered already")]
    Answered,
    /// Only who placed it.
    #[error("somebody else placed this call")]
    NotYours,
    /// More people than one call rings.
    #[error("one call rings 50 people at most")]
    TooMany,
}

/// One call that rings, or did a short while ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ringing {
    /// The call.
    pub id: CallId,
    /// Its room.
    pub room: RoomId,
    /// Who rings.
    pub caller: UserId,
    /// Since when.
    pub placed_at: UnixMs,
    /// The caller means to be seen.
    pub with_camera: bool,
    rings: BTreeMap<UserId, Ring>,
    is_over: bool,
    changes: VecDeque<Change>,
}

impl Ringing {
    /// Nobody is rung yet.
    pub fn new(id: CallId, room: RoomId, caller: UserId, with_camera: bool, now: UnixMs) -> Self {
        Ringing {
            id,
            room,
            caller,
            placed_at: now,
            with_camera,
            rings: BTreeMap::new(),
            is_over: false,
            changes: VecDeque::new(),
        }
    }

    /// Rings somebody. Who is in another call is busy, and hears nothing. Who is rung, or has come, is left alone;
    /// who did not come may be rung again.
    pub fn ring(&mut self, now: UnixMs, user: &UserId, is_busy: bool) -> Result<(), NoRing> {
        if *user == self.caller {
            return Err(NoRing::NotYours);
        }
        let is_known = self.rings.get(user).map(|ring| ring.outcome);
        if matches!(is_known, Some(Outcome::Ringing | Outcome::Accepted)) {
            return Ok(());
        }
        if is_known.is_none() && self.rings.len() >= RUNG_MAX {
            return Err(NoRing::TooMany);
        }
        let ring = Ring { outcome: Outcome::Ringing, rung_at: now, outcome_at: None, answered_on: None };
        self.rings.insert(user.clone(), ring);
        self.is_over = false;
        self.changes.push_back(Change::Rang(user.clone()));
        if is_busy {
            self.answer(now, user, Outcome::Busy, None);
        }
        Ok(())
    }

    /// They come. A second time from the same device changes nothing.
    pub fn accept(&mut self, now: UnixMs, user: &UserId, device: Option<&SignInId>) -> Result<(), NoRing> {
        let ring = self.rings.get(user).ok_or(NoRing::NotRung)?;
        match ring.outcome {
            Outcome::Ringing => {
                self.answer(now, user, Outcome::Accepted, device);
                Ok(())
            }
            Outcome::Accepted if ring.answered_on.as_ref() == device => Ok(()),
            Outcome::Accepted => Err(NoRing::Answered),
            _ => Err(NoRing::Over),
        }
    }

    /// They do not want to. A second time changes nothing.
    pub fn decline(&mut self, now: UnixMs, user: &UserId, device: Option<&SignInId>) -> Result<(), NoRing> {
        match self.rings.get(user).ok_or(NoRing::NotRung)?.outcome {
            Outcome::Ringing => {
                self.answer(now, user, Outcome::Declined, device);
                Ok(())
            }
            Outcome::Declined => Ok(()),
            Outcome::Accepted => Err(NoRing::Answered),
            _ => Err(NoRing::Over),
        }
    }

    /// The caller gives up: whoever is still rung is rung no more.
    pub fn cancel(&mut self, now: UnixMs, user: &UserId) -> Result<(), NoRing> {
        if *user != self.caller {
            return Err(NoRing::NotYours);
        }
        for user in self.ringing() {
            self.answer(now, &user, Outcome::Cancelled, None);
        }
        Ok(())
    }

    /// Who does not answer is rung no more.
    pub fn tick(&mut self, now: UnixMs) {
        for user in self.ringing() {
            if self.rings.get(&user).is_some_and(|ring| now >= ring.rung_at.after(RING_SPAN)) {
                self.answer(now, &user, Outcome::NoAnswer, None);
            }
        }
    }

    /// When [`Ringing::tick`] has something to do, or the call is to be forgotten.
    pub fn poll_timeout(&self) -> UnixMs {
        let ringing = self.rings.values().filter(|ring| ring.outcome == Outcome::Ringing);
        ringing.map(|ring| ring.rung_at.after(RING_SPAN)).min().unwrap_or_else(|| self.forgotten_at())
    }

    /// When nobody needs to be told of it any more; never while it rings.
    pub fn forgotten_at(&self) -> UnixMs {
        if self.is_ringing() {
            return UnixMs::NEVER;
        }
        let last = self.rings.values().filter_map(|ring| ring.outcome_at).max();
        last.unwrap_or(self.placed_at).after(TOLD_SPAN)
    }

    /// What to do next because of the calls so far.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Somebody is rung.
    pub fn is_ringing(&self) -> bool {
        self.rings.values().any(|ring| ring.outcome == Outcome::Ringing)
    }

    /// Everybody who is or was rung.
    pub fn rings(&self) -> &BTreeMap<UserId, Ring> {
        &self.rings
    }

    /// The caller, and everybody who is or was rung.
    pub fn people(&self) -> impl Iterator<Item = &UserId> {
        std::iter::once(&self.caller).chain(self.rings.keys())
    }

    fn ringing(&self) -> Vec<UserId> {
        let ringing = self.rings.iter().filter(|(_, ring)| ring.outcome == Outcome::Ringing);
        ringing.map(|(user, _)| user.clone()).collect()
    }

    fn answer(&mut self, now: UnixMs, user: &UserId, outcome: Outcome, device: Option<&SignInId>) {
        let Some(ring) = self.rings.get_mut(user) else { return };
        ring.outcome = outcome;
        ring.outcome_at = Some(now);
        ring.answered_on = device.cloned();
        self.changes.push_back(Change::Answered(user.clone(), outcome));
        if !self.is_ringing() && !self.is_over {
            self.is_over = true;
            let is_answered = self.rings.values().any(|ring| ring.outcome == Outcome::Accepted);
            self.changes.push_back(Change::Over { is_answered });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T: UnixMs = UnixMs(1_800_000_000_000);

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn later(seconds: u64) -> UnixMs {
        T.after(Duration::from_secs(seconds))
    }

    fn ringing(callees: &[&str]) -> Ringing {
        let mut call =
            Ringing::new(CallId::new("call").unwrap(), RoomId::new("room").unwrap(), user("ada"), false, T);
        for callee in callees {
            call.ring(T, &user(callee), false).unwrap();
        }
        call
    }

    fn outcome(call: &Ringing, name: &str) -> Outcome {
        call.rings()[&user(name)].outcome
    }

    fn changes(call: &mut Ringing) -> Vec<Change> {
        std::iter::from_fn(|| call.poll_change()).collect()
    }

    #[test]
    fn a_call_is_accepted_on_one_device_and_answered_on_the_others() {
        let mut call = ringing(&["bob"]);
        let (phone, desk) = (SignInId::new("phone").unwrap(), SignInId::new("desk").unwrap());
        call.accept(later(3), &user("bob"), Some(&phone)).unwrap();
        assert_eq!(call.accept(later(4), &user("bob"), Some(&phone)), Ok(()), "asked twice, told the same");
        assert_eq!(call.accept(later(4), &user("bob"), Some(&desk)), Err(NoRing::Answered));
        assert_eq!(call.decline(later(4), &user("bob"), Some(&desk)), Err(NoRing::Answered));
        assert_eq!(call.rings()[&user("bob")].answered_on, Some(phone));
        assert_eq!(
            changes(&mut call),
            [
                Change::Rang(user("bob")),
                Change::Answered(user("bob"), Outcome::Accepted),
                Change::Over { is_answered: true },
            ]
        );
    }

    #[test]
    fn a_call_is_declined() {
        let mut call = ringing(&["bob", "cyd"]);
        call.decline(later(1), &user("bob"), None).unwrap();
        assert!(call.is_ringing(), "the others are still rung");
        assert_eq!(call.accept(later(2), &user("bob"), None), Err(NoRing::Over));
        call.decline(later(2), &user("cyd"), None).unwrap();
        assert_eq!(changes(&mut call).last(), Some(&Change::Over { is_answered: false }));
    }

    #[test]
    fn a_call_that_nobody_answers_ends_after_half_a_minute() {
        let mut call = ringing(&["bob"]);
        assert_eq!(call.poll_timeout(), later(30));
        call.tick(later(29));
        assert!(call.is_ringing());
        call.tick(later(30));
        assert_eq!(outcome(&call, "bob"), Outcome::NoAnswer);
        assert_eq!(call.poll_timeout(), later(90));
    }

    #[test]
    fn the_caller_alone_can_give_up() {
        let mut call = ringing(&["bob", "cyd"]);
        call.accept(later(1), &user("bob"), None).unwrap();
        assert_eq!(call.cancel(later(2), &user("bob")), Err(NoRing::NotYours));
        call.cancel(later(2), &user("ada")).unwrap();
        assert_eq!((outcome(&call, "bob"), outcome(&call, "cyd")), (Outcome::Accepted, Outcome::Cancelled));
        assert_eq!(changes(&mut call).last(), Some(&Change::Over { is_answered: true }));
        call.cancel(later(3), &user("ada")).unwrap();
        assert_eq!(changes(&mut call), []);
    }

    #[test]
    fn who_is_in_another_call_is_busy_and_may_be_rung_again() {
        let mut call = ringing(&[]);
        call.ring(T, &user("bob"), true).unwrap();
        assert_eq!(outcome(&call, "bob"), Outcome::Busy);
        assert_eq!(changes(&mut call).last(), Some(&Change::Over { is_answered: false }));
        call.ring(later(5), &user("bob"), false).unwrap();
        assert!(call.is_ringing());
        call.accept(later(6), &user("bob"), None).unwrap();
        call.ring(later(7), &user("bob"), false).unwrap();
        assert_eq!(outcome(&call, "bob"), Outcome::Accepted, "who is there is not rung");
    }

    #[test]
    fn strangers_and_the_caller_have_no_say() {
        let mut call = ringing(&["bob"]);
        for name in ["ada", "eve"] {
            assert_eq!(call.accept(T, &user(name), None), Err(NoRing::NotRung));
            assert_eq!(call.decline(T, &user(name), None), Err(NoRing::NotRung));
        }
        assert_eq!(call.ring(T, &user("ada"), false), Err(NoRing::NotYours));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Ring(u8, bool),
        Accept(u8, u8),
        Decline(u8),
        Cancel(u8),
        Wait(u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u8..4, any::<bool>()).prop_map(|(user, is_busy)| Step::Ring(user, is_busy)),
            (0u8..4, 0u8..2).prop_map(|(user, device)| Step::Accept(user, device)),
            (0u8..4).prop_map(Step::Decline),
            (0u8..4).prop_map(Step::Cancel),
            (0u16..20_000).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order, what is told adds up.
        #[test]
        fn every_ring_has_one_outcome_and_an_end(steps in proptest::collection::vec(step(), 0..60)) {
            let mut call = ringing(&[]);
            let mut now = T;
            let mut rings = std::collections::HashMap::<UserId, u32>::new();
            let mut over = true;
            let name = |index: u8| user(["ada", "bob", "cyd", "dan"][usize::from(index)]);
            for step in steps {
                match step {
                    // Refusals are as good as what is granted.
                    Step::Ring(who, is_busy) => {
                        let _ = call.ring(now, &name(who), is_busy);
                    }
                    Step::Accept(who, device) => {
                        let device = SignInId::new(&format!("d{device}")).unwrap();
                        let _ = call.accept(now, &name(who), Some(&device));
                    }
                    Step::Decline(who) => {
                        let _ = call.decline(now, &name(who), None);
                    }
                    Step::Cancel(who) => {
                        let _ = call.cancel(now, &name(who));
                    }
                    Step::Wait(ms) => {
                        now = now.after(Duration::from_millis(u64::from(ms)));
                        call.tick(now);
                    }
                }
                while let Some(change) = call.poll_change() {
                    match change {
                        Change::Rang(user) => {
                            *rings.entry(user).or_default() += 1;
                            over = false;
                        }
                        Change::Answered(user, outcome) => {
                            prop_assert_ne!(outcome, Outcome::Ringing);
                            let open = rings.get_mut(&user).unwrap();
                            *open -= 1;
                        }
                        Change::Over { is_answered } => {
                            prop_assert!(!over, "told twice");
                            over = true;
                            let came = call.rings().values().any(|ring| ring.outcome == Outcome::Accepted);
                            prop_assert_eq!(is_answered, came);
                        }
                    }
                }
                for (user, ring) in call.rings() {
                    let open = rings.get(user).copied().unwrap_or(0);
                    prop_assert_eq!(open == 1, ring.outcome == Outcome::Ringing);
                    prop_assert_eq!(ring.outcome_at.is_none(), ring.outcome == Outcome::Ringing);
                    prop_assert!(ring.outcome != Outcome::Ringing || now < ring.rung_at.after(RING_SPAN));
                }
                prop_assert_eq!(over, !call.is_ringing());
            }
            call.tick(now.after(RING_SPAN));
            prop_assert!(!call.is_ringing());
            prop_assert!(call.forgotten_at() <= now.after(RING_SPAN).after(TOLD_SPAN));
        }
    }
}
