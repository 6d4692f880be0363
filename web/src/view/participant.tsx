/** One participant: its tracks and what arrives on them. */
import type { Participant, TrackState } from "../room/participant";
import { format, rate, title } from "./format";
import { Sparkline } from "./sparkline";

export function ParticipantCard({ participant }: { participant: Participant }) {
  const tracks = participant.tracks.value;
  const kbits = tracks.reduce((sum, track) => sum + track.rates.kbits, 0);
  const heading = `participant-${participant.name}`;
  return (
    <section class="card" aria-labelledby={heading}>
      <header>
        <span class="avatar" aria-hidden="true">
          {[...participant.name][0]?.toUpperCase() ?? "?"}
        </span>
        <h2 id={heading}>{participant.name}</h2>
        <p class="total">
          <strong>{rate(kbits)}</strong> kbit/s
        </p>
      </header>
      <table>
        <thead>
          <tr>
            <th scope="col">Track</th>
            <th scope="col" class="figure">
              kbit/s
            </th>
            <th scope="col" class="figure">
              objects/s
            </th>
            <th scope="col" class="graph">
              Last 30 s
            </th>
          </tr>
        </thead>
        <tbody>
          {tracks.map((track) => (
            <TrackRow key={track.name} track={track} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

function TrackRow({ track }: { track: TrackState }) {
  const detail = track.catalog ? format(track.catalog) : "";
  return (
    <tr data-track={track.name}>
      <th scope="row">
        {title(track.name)}
        {detail !== "" && <small>{detail}</small>}
        {track.problem !== undefined && <small class="problem">{track.problem}</small>}
      </th>
      <td class="figure">{rate(track.rates.kbits)}</td>
      <td class="figure">{rate(track.rates.objects)}</td>
      <td class="graph">
        <Sparkline history={track.history} />
      </td>
    </tr>
  );
}
