//! How LIO's disks are known.

/// What LIO makes of a unit serial number: NAA type 6 with the company identifier 001405h, then the hexadecimal digits of the
/// serial number and no other character of it, as many as fit. (That is what udev and multipath name the disk by.)
pub(super) fn naa(serial: &str) -> String {
    const LENGTH: usize = 32;
    let digits = serial.chars().filter(char::is_ascii_hexdigit);
    let mut naa: String = "6001405".chars().chain(digits).take(LENGTH).collect();
    naa.make_ascii_lowercase();
    format!("{naa:0<LENGTH$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_hosts_see_it() {
        assert_eq!(
            naa("27d9d921-5803-4fc0-a6bf-651b1a8ae519"),
            "600140527d9d92158034fc0a6bf651b1"
        );
        assert_eq!(naa("ABC"), "6001405abc0000000000000000000000");
        assert_eq!(naa("xyz"), "60014050000000000000000000000000");
    }
}
