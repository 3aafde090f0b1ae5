//! The Diffie-Hellman groups that DH-HMAC-CHAP may use (NVMe base 2.0 section 8.13.5.2): those of RFC 7919, and none.

use std::fmt;

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd, Resize};
use serde::{Serialize, Serializer};

use super::primes;

/// A group, in order of strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DhGroup {
    /// No Diffie-Hellman exchange: who listens may try secrets at leisure.
    Null,
    /// 2048 bits.
    Ffdhe2048,
    /// 3072 bits.
    Ffdhe3072,
    /// 4096 bits.
    Ffdhe4096,
    /// 6144 bits.
    Ffdhe6144,
    /// 8192 bits.
    Ffdhe8192,
}

impl DhGroup {
    /// All of them, the weakest first.
    pub const ALL: [Self; 6] = [
        Self::Null,
        Self::Ffdhe2048,
        Self::Ffdhe3072,
        Self::Ffdhe4096,
        Self::Ffdhe6144,
        Self::Ffdhe8192,
    ];

    /// As in messages.
    pub const fn identifier(self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Ffdhe2048 => 1,
            Self::Ffdhe3072 => 2,
            Self::Ffdhe4096 => 3,
            Self::Ffdhe6144 => 4,
            Self::Ffdhe8192 => 5,
        }
    }

    /// As in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Ffdhe2048 => "ffdhe2048",
            Self::Ffdhe3072 => "ffdhe3072",
            Self::Ffdhe4096 => "ffdhe4096",
            Self::Ffdhe6144 => "ffdhe6144",
            Self::Ffdhe8192 => "ffdhe8192",
        }
    }

    fn parameters(self) -> Option<Parameters> {
        let (prime, bits, exponent) = match self {
            Self::Null => return None,
            Self::Ffdhe2048 => (primes::FFDHE2048, 2048, 256),
            Self::Ffdhe3072 => (primes::FFDHE3072, 3072, 320),
            Self::Ffdhe4096 => (primes::FFDHE4096, 4096, 384),
            Self::Ffdhe6144 => (primes::FFDHE6144, 6144, 384),
            Self::Ffdhe8192 => (primes::FFDHE8192, 8192, 448),
        };
        Some(Parameters {
            prime,
            bits,
            exponent,
        })
    }
}

/// What defines a group. The generator is 2.
struct Parameters {
    prime: &'static str,
    bits: u32,
    /// Bits of private exponents: not below twice the strength of the group (RFC 7919 section 5.2 and appendix A).
    exponent: u32,
}

impl Parameters {
    fn modulus(&self) -> BoxedMontyParams {
        let prime = BoxedUint::from_be_hex(self.prime, self.bits).into_option();
        let Some(odd) = prime.and_then(|prime| Odd::new(prime).into_option()) else {
            unreachable!("a good constant")
        };
        // The prime is public; what is done with it is constant time.
        BoxedMontyParams::new_vartime(odd)
    }
}

/// Our side of one exchange; it is used once.
pub(super) struct Ephemeral {
    exponent: BoxedUint,
    exponent_bits: u32,
    modulus: BoxedMontyParams,
    public: Box<[u8]>,
}

/// A public value that nobody who follows the rules sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadPublicValue;

impl Ephemeral {
    /// `None` for the NULL group.
    pub(super) fn generate(group: DhGroup, entropy: &mut dyn FnMut(&mut [u8])) -> Option<Self> {
        let parameters = group.parameters()?;
        let mut bytes = vec![0; parameters.exponent as usize / 8];
        entropy(&mut bytes);
        // As long as it should be, whatever was drawn.
        if let Some(first) = bytes.first_mut() {
            *first |= 0x80;
        }
        let Ok(exponent) = BoxedUint::from_be_slice(&bytes, parameters.exponent) else {
            unreachable!("it has that many bits")
        };
        let modulus = parameters.modulus();
        let two = BoxedUint::from(2u8).resize(parameters.bits);
        let mut new = Self {
            exponent,
            exponent_bits: parameters.exponent,
            modulus,
            public: Box::default(),
        };
        new.public = new.power(two);
        Some(new)
    }

    /// g^x mod p: big-endian, as long as p.
    pub(super) fn public(&self) -> &[u8] {
        &self.public
    }

    /// g^xy mod p, of the peer's g^y mod p: big-endian, as long as p. The peer may leave out leading zeros.
    pub(super) fn shared(&self, peer: &[u8]) -> Result<Box<[u8]>, BadPublicValue> {
        let prime = self.modulus.modulus().as_ref();
        let value =
            BoxedUint::from_be_slice(peer, prime.bits_precision()).map_err(|_| BadPublicValue)?;
        // 1 < g^y < p - 1 (RFC 7919 section 5.1): others make the secret known to everybody.
        let one = BoxedUint::one_with_precision(prime.bits_precision());
        let last = prime.wrapping_sub(&one);
        if value <= one || value >= last {
            return Err(BadPublicValue);
        }
        Ok(self.power(value))
    }

    fn power(&self, base: BoxedUint) -> Box<[u8]> {
        BoxedMontyForm::new(base, &self.modulus)
            .pow_bounded_exp(&self.exponent, self.exponent_bits)
            .retrieve()
            .to_be_bytes()
    }
}

impl fmt::Display for DhGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for DhGroup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ephemeral(group: DhGroup, byte: u8) -> Ephemeral {
        Ephemeral::generate(group, &mut |bytes| bytes.fill(byte)).expect("a group")
    }

    #[test]
    fn both_sides_come_to_the_same() {
        let (a, b) = (
            ephemeral(DhGroup::Ffdhe2048, 0),
            ephemeral(DhGroup::Ffdhe2048, 0xa5),
        );
        assert_ne!(a.public(), b.public());
        let secret = a.shared(b.public()).expect("a good value");
        assert_eq!(Ok(&secret), b.shared(a.public()).as_ref());
        assert_eq!((a.public().len(), secret.len()), (256, 256));
    }

    #[test]
    fn leading_zeros_may_be_left_out() {
        let ours = ephemeral(DhGroup::Ffdhe2048, 1);
        let short = ours.shared(&[4]).expect("a good value");
        let long = ours.shared(&[&[0; 255][..], &[4]].concat());
        assert_eq!(Ok(&short), long.as_ref());
        assert_eq!(short.len(), 256);
        assert_eq!(ours.shared(&[0; 257]), Err(BadPublicValue));
    }

    /// RFC 7919 appendix A has the least bits of each.
    #[test]
    fn exponents_are_long_enough() {
        let least = [225, 275, 325, 375, 400];
        for (group, least) in DhGroup::ALL[1..].iter().zip(least) {
            let parameters = group.parameters().expect("a group");
            assert!(parameters.exponent >= least, "{group}");
            assert_eq!(parameters.prime.len() as u32 * 4, parameters.bits);
        }
        assert!(DhGroup::Null.parameters().is_none());
    }

    #[test]
    fn strength_is_the_order() {
        assert!(DhGroup::ALL.is_sorted());
        let identifiers = DhGroup::ALL.map(DhGroup::identifier);
        assert_eq!(identifiers, [0, 1, 2, 3, 4, 5]);
    }
}
