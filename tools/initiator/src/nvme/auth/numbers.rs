//! The primes of RFC 7919 appendix A, from their definition, and powers modulo them.

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd, Resize};

/// p = 2^b - 2^(b-64) + ([2^(b-130) e] + X) 2^64 - 1: 64 ones at both ends, and Euler's number between them. Least significant
/// word first.
pub(super) fn prime(bits: usize) -> Vec<u64> {
    let x = match bits {
        2048 => 560_316,
        3072 => 2_625_351,
        4096 => 5_736_041,
        6144 => 15_705_020,
        _ => 10_965_728,
    };
    // The lowest word only keeps what is rounded away from reaching the others.
    let mut middle = euler(bits / 64 - 1).split_off(1);
    // The one that is subtracted makes ones of the lowest word, which is zero, and takes one from here.
    let mut carry = x - 1;
    for word in &mut middle {
        let (sum, more) = word.overflowing_add(carry);
        (*word, carry) = (sum, more.into());
    }
    [vec![u64::MAX], middle, vec![u64::MAX]].concat()
}

/// e with two bits before the point, in that many words: the sum of 1/k!.
fn euler(words: usize) -> Vec<u64> {
    let mut term = vec![0; words];
    term[words - 1] = 1 << 62;
    let mut sum = term.clone();
    for k in 1.. {
        let mut remainder = 0;
        for word in term.iter_mut().rev() {
            let dividend = (remainder << 64) | u128::from(*word);
            // Below 2^64, since the remainder is below k.
            *word = (dividend / k) as u64;
            remainder = dividend % k;
        }
        if term.iter().all(|&word| word == 0) {
            break;
        }
        let mut carry = false;
        for (word, &more) in sum.iter_mut().zip(&term) {
            let (low, a) = word.overflowing_add(more);
            let (low, b) = low.overflowing_add(carry.into());
            (*word, carry) = (low, a | b);
        }
    }
    sum
}

/// base^exponent mod p, big-endian and as long as p. A base that is not below p is taken modulo p.
pub(super) fn power(prime: &[u64], base: &[u8], exponent: &[u8]) -> Vec<u8> {
    let modulus = BoxedUint::from_words(prime.iter().copied());
    let bits = modulus.bits_precision();
    let Some(odd) = Odd::new(modulus).into_option() else {
        unreachable!("all ones at its end")
    };
    let base = BoxedUint::from_be_slice_vartime(base).resize(bits);
    let exponent = BoxedUint::from_be_slice_vartime(exponent);
    BoxedMontyForm::new(base, &BoxedMontyParams::new(odd))
        .pow(&exponent)
        .retrieve()
        .to_be_bytes()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_are_those_of_the_standard() {
        for (bits, low) in [
            (2048, 0x886b_4238_6128_5c97),
            (3072, 0x25e4_1d2b_66c6_2e37),
            (4096, 0xc68a_007e_5e65_5f6a),
            (6144, 0xa40e_329c_d0e4_0e65),
            (8192, 0xd68c_8bb7_c5c6_424c),
        ] {
            let prime = prime(bits);
            assert_eq!(prime.len() * 64, bits);
            assert_eq!(prime[..2], [u64::MAX, low], "{bits}");
            let high = [0xafdc_5620_273d_3cf1, 0xadf8_5458_a2bb_4a9a, u64::MAX];
            assert_eq!(prime[prime.len() - 3..], high, "{bits}");
        }
        // Fermat: 2^(p-1) = 1.
        let prime = prime(2048);
        let exponent: Vec<u8> = prime.iter().rev().flat_map(|w| w.to_be_bytes()).collect();
        let exponent = [&exponent[..255], &[0xfe]].concat();
        let mut one = vec![0; 256];
        one[255] = 1;
        assert_eq!(power(&prime, &[2], &exponent), one);
    }
}
