//! The authority that SETUP carries on raw QUIC, taken apart (draft 10.3.1.1; RFC 3986): the codec looks at its
//! characters only.

/// `[ userinfo "@" ] host [ ":" port ]` with a host.
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    let host_and_port = match bytes.iter().rposition(|byte| *byte == b'@') {
        Some(at) => {
            let (userinfo, rest) = bytes.split_at(at);
            if !is_made_of(userinfo, |byte| is_pchar(byte) && byte != b'@') {
                return false;
            }
            rest.strip_prefix(b"@").unwrap_or(rest)
        }
        None => bytes,
    };
    if let Some(rest) = host_and_port.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
        let (address, port) = rest.split_at(end);
        let is_address =
            std::str::from_utf8(address).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
        return is_address && is_port(port.strip_prefix(b"]").unwrap_or(port));
    }
    let end = host_and_port.iter().position(|byte| *byte == b':').unwrap_or(host_and_port.len());
    let (host, port) = host_and_port.split_at(end);
    !host.is_empty() && is_made_of(host, |byte| is_unreserved(byte) || is_sub_delim(byte)) && is_port(port)
}

fn is_port(bytes: &[u8]) -> bool {
    match bytes.strip_prefix(b":") {
        Some(digits) => digits.iter().all(u8::is_ascii_digit) && digits.len() <= 5,
        None => bytes.is_empty(),
    }
}

fn is_made_of(bytes: &[u8], is_allowed: impl Fn(u8) -> bool) -> bool {
    let mut rest = bytes.iter();
    while let Some(&byte) = rest.next() {
        let fits = match byte {
            b'%' => [rest.next(), rest.next()].iter().all(|digit| digit.is_some_and(u8::is_ascii_hexdigit)),
            _ => is_allowed(byte),
        };
        if !fits {
            return false;
        }
    }
    true
}

fn is_pchar(byte: u8) -> bool {
    is_unreserved(byte) || is_sub_delim(byte) || matches!(byte, b':' | b'@')
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn is_sub_delim(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_follow_rfc_3986() {
        for authority in
            ["localhost", "example.org:4443", "127.0.0.1:1", "[::1]:443", "[::1]", "u:p@host", "h:"]
        {
            assert!(is_authority(authority.as_bytes()), "{authority:?}");
        }
        for authority in ["", ":443", "host:x", "[::1", "[zz]", "a b", "host/path", "h:123456", "@", "[::1]x"]
        {
            assert!(!is_authority(authority.as_bytes()), "{authority:?}");
        }
    }
}
