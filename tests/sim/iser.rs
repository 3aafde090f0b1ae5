//! iSER: logins, data on the way that it should take, and initiators that break rules.

use pagecast_tests::{Setup, pattern, seeds};

const LENGTHS: [usize; 8] = [512, 1024, 4096, 8192, 12_288, 65_536, 262_144, 1 << 20];

#[test]
fn data_of_every_length_with_and_without_immediate_data() {
    for seed in seeds(0..3) {
        for setup in [Setup::new(seed), Setup::new(seed).staged()] {
            let mut world = setup.iser().build();
            let connection = world.iser_session(0);
            for (turn, &length) in LENGTHS.iter().enumerate() {
                let lba = world.random.below(8192 - length as u64 / 512);
                for immediate in [0, 512, 4096, 8192] {
                    let immediate = immediate.min(length);
                    let bytes = pattern(length, seed ^ (turn as u64) << 8 ^ immediate as u64);
                    world.iser_write(0, connection, lba, &bytes, immediate);
                    for _ in 0..2 {
                        let found = world.iser_read(0, connection, lba, (length / 512) as u32);
                        assert!(
                            found == bytes,
                            "seed {seed}: {length} bytes, {immediate} immediate"
                        );
                    }
                }
            }
            world.finish();
        }
    }
}
