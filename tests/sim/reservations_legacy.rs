//! RESERVE and RELEASE of SCSI-2, beside hosts of all transports.

use pagecast_initiator::nvme::{io, reservation};
use pagecast_initiator::scsi::reserve::{release6, release10, reserve6, reserve10};
use pagecast_initiator::{Task, scsi};
use pagecast_tests::reservations::{Cluster, Kind, Outcome, Transfer};
use pagecast_tests::{Setup, seeds};

use super::reservations_rare::{ANOTHER, FIVE, ISER, NVME, OTHER, SRP, command, write};

use Outcome::{Conflict, Good, Sense};

#[test]
fn reserve_keeps_everybody_else_out() {
    for (holder, reserve, release) in [
        (SRP, reserve6(), release6()),
        (ISER, reserve10(), release10()),
    ] {
        let mut cluster = Cluster::new(Setup::new(1), &FIVE);
        assert_eq!(command(&mut cluster, holder, reserve.clone()), Good);
        // Once more is no error.
        assert_eq!(command(&mut cluster, holder, reserve.clone()), Good);
        assert_eq!(write(&mut cluster, holder), Good);
        for other in cluster.hosts().filter(|host| *host != holder) {
            assert_eq!(cluster.read(other, 0).0, Conflict, "{other}");
            assert_eq!(write(&mut cluster, other), Conflict, "{other}");
            // Nobody registers meanwhile, by whichever protocol.
            assert_eq!(cluster.register(other, 5), Conflict, "{other}");
            if cluster.is_scsi(other) {
                assert_eq!(cluster.test_unit_ready(other), Conflict);
                assert_eq!(command(&mut cluster, other, reserve.clone()), Conflict);
                // That releases nothing.
                assert_eq!(command(&mut cluster, other, release.clone()), Good);
                let (outcome, _) = cluster.scsi(other, scsi::inquiry(None, 96), Transfer::In(96));
                assert_eq!(outcome, Good);
            } else {
                let flush = io::flush(1);
                assert_eq!(cluster.nvme_io(other, &flush).0, Conflict);
                let report = |data| reservation::report(1, 64, true, data);
                assert_eq!(cluster.nvme_in(other, 64, report).0, Conflict);
            }
        }
        assert_eq!(command(&mut cluster, holder, release), Good);
        for host in cluster.hosts() {
            assert_eq!(write(&mut cluster, host), Good, "{host}");
        }
        assert_eq!(cluster.everybody_told(), []);
        cluster.finish();
    }
}

#[test]
fn reserve_ends_with_its_session() {
    for seed in seeds(0..3) {
        for holder in [SRP, ISER] {
            let mut cluster = Cluster::new(Setup::new(seed), &FIVE);
            assert_eq!(command(&mut cluster, holder, reserve6()), Good);
            assert_eq!(write(&mut cluster, NVME), Conflict);
            cluster.leave(holder);
            assert_eq!(write(&mut cluster, NVME), Good);
            assert_eq!(write(&mut cluster, OTHER), Good);
            cluster.log_in(holder);
            assert_eq!(write(&mut cluster, NVME), Good);
            cluster.finish();
        }
    }
}

#[test]
fn reserve_ends_with_a_reset() {
    for seed in seeds(0..3) {
        let mut cluster = Cluster::new(Setup::new(seed), &FIVE);
        assert_eq!(command(&mut cluster, ISER, reserve6()), Good);
        assert_eq!(write(&mut cluster, NVME), Conflict);
        let reset = Task {
            lun: scsi::lun(0),
            function: 8,
            tag: 0,
        };
        let channel = cluster.channel(SRP);
        assert_eq!(cluster.world.manage(SRP, channel, reset), 0);
        assert_eq!(write(&mut cluster, NVME), Good);
        for host in [SRP, ISER, OTHER, ANOTHER] {
            // BUS DEVICE RESET FUNCTION OCCURRED
            assert_eq!(cluster.test_unit_ready(host), Sense(6, 0x29, 3));
            assert_eq!(write(&mut cluster, host), Good);
        }
        cluster.finish();
    }
}

/// A reset does not touch persistent reservations.
#[test]
fn a_reset_leaves_registrations() {
    let mut cluster = Cluster::new(Setup::new(1), &FIVE);
    assert_eq!(cluster.register(NVME, 3), Good);
    assert_eq!(cluster.reserve(NVME, 3, Kind::ExclusiveAccess), Good);
    let reset = Task {
        lun: scsi::lun(0),
        function: 8,
        tag: 0,
    };
    let channel = cluster.channel(SRP);
    assert_eq!(cluster.world.manage(SRP, channel, reset), 0);
    assert_eq!(cluster.test_unit_ready(SRP), Sense(6, 0x29, 3));
    assert_eq!(write(&mut cluster, SRP), Conflict);
    assert_eq!(cluster.view(SRP).holders, [3]);
    cluster.finish();
}

/// Compatible reservation handling (SPC-4 section 5.13.3): beside a persistent reservation, RESERVE and RELEASE are good for whoever may
/// do everything, and reserve nothing. Beside registrations alone they conflict (SPC-2 section 5.5.1).
#[test]
fn reserve_beside_registrations() {
    let mut cluster = Cluster::new(Setup::new(1), &FIVE);
    assert_eq!(cluster.register(NVME, 3), Good);
    assert_eq!(cluster.register(SRP, 1), Good);
    for host in [SRP, ISER] {
        assert_eq!(command(&mut cluster, host, reserve6()), Conflict);
        assert_eq!(command(&mut cluster, host, release6()), Conflict);
    }
    for (holder, key, kind, expected) in [
        (NVME, 3, Kind::WriteExclusive, Conflict),
        (NVME, 3, Kind::WriteExclusiveRegistrants, Good),
        (NVME, 3, Kind::ExclusiveAccessAll, Good),
        (SRP, 1, Kind::WriteExclusive, Good),
    ] {
        assert_eq!(cluster.reserve(holder, key, kind), Good);
        assert_eq!(command(&mut cluster, SRP, reserve6()), expected, "{kind:?}");
        assert_eq!(command(&mut cluster, ISER, reserve6()), Conflict);
        let everybody = cluster.read(NVME, 0).0;
        assert_eq!(everybody, Good, "{kind:?}: nothing is reserved so");
        assert_eq!(command(&mut cluster, SRP, release6()), expected, "{kind:?}");
        assert_eq!(command(&mut cluster, ISER, release6()), Conflict);
        assert_eq!(cluster.release(holder, key, kind), Good);
        cluster.everybody_told();
    }
    cluster.finish();
}

/// The holder of SCSI-2's kind may still register (it is its own), and then there are two; nobody is left out in the end.
#[test]
fn reserve_first_and_register_then() {
    let mut cluster = Cluster::new(Setup::new(1), &FIVE);
    assert_eq!(command(&mut cluster, SRP, reserve6()), Good);
    // SPC-2 section 5.5.1: PERSISTENT RESERVE OUT conflicts while the unit is reserved so, by whomever; some allow the holder.
    let outcome = cluster.register(SRP, 1);
    assert!(matches!(outcome, Good | Conflict), "{outcome:?}");
    command(&mut cluster, SRP, release6());
    cluster.leave(SRP);
    for host in [ISER, NVME, OTHER, ANOTHER] {
        assert_eq!(write(&mut cluster, host), Good);
    }
    cluster.finish();
}
