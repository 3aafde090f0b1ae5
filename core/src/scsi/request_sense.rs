//! REQUEST SENSE (SPC-4).

use super::cdb::Cdb;
use super::lun::Lun;
use super::opcodes::Flags;
use super::plan::{Context, Plan, Planned};
use super::response::Response;
use super::sense::{Sense, SenseCode, SenseFormat, codes};

/// REQUEST SENSE at a logical unit: takes a pending unit attention condition.
pub(crate) fn of_unit(context: &Context<'_>, cdb: &Cdb) -> Planned {
    Ok(report(
        context
            .slot
            .nexus
            .take(Flags::NONE)
            .unwrap_or(codes::NO_SENSE),
        cdb,
    ))
}

/// REQUEST SENSE where there is no logical unit, or a well-known one. The status is GOOD all the same.
pub(crate) fn without_unit(lun: Lun, cdb: &Cdb) -> Planned {
    let well_known = lun == Lun::ReportLuns;
    Ok(report(
        if well_known {
            codes::NO_SENSE
        } else {
            codes::LUN_NOT_SUPPORTED
        },
        cdb,
    ))
}

fn report(code: SenseCode, cdb: &Cdb) -> Plan {
    // DESC asks for the format, whatever D_SENSE says.
    let format = if cdb.bit(1, 0) {
        SenseFormat::Descriptor
    } else {
        SenseFormat::Fixed
    };
    let mut data = vec![0; Sense::MAX_LENGTH];
    let length = Sense {
        format,
        ..code.into()
    }
    .encode(&mut data);
    data.truncate(length);
    Plan::Respond(Response::with_data(data, cdb.byte(4).into()))
}
