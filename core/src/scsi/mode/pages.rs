//! Mode pages (SPC-4 7.5, SBC-3).

use crate::scsi::unit::{LogicalUnit, Modes};

/// Which values of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    /// With these parameters set.
    Of(Modes),
    /// A one for each bit that MODE SELECT may change.
    Changeable,
}

/// A mode page: fixed bytes, and the bits that are parameters.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) code: u8,
    /// 0 for a page that has the short form, without a subpage code.
    pub(super) subpage: u8,
    /// What follows the page length when no parameter is set.
    fixed: &'static [u8],
    /// Byte, counted from the page code on, and bit of each parameter.
    parameters: &'static [(usize, u8, Modes)],
    /// Only of a unit with thin provisioning.
    thin: bool,
}

/// Sorted by page code and subpage code.
static PAGES: &[Page] = &[
    // Read-write error recovery (SBC-3): nothing is recovered or reallocated here.
    Page {
        code: 0x01,
        subpage: 0,
        fixed: &[0; 10],
        parameters: &[],
        thin: false,
    },
    // Caching (SBC-3): WCE.
    Page {
        code: 0x08,
        subpage: 0,
        fixed: &[0; 18],
        parameters: &[(2, 2, Modes::WRITE_CACHE)],
        thin: false,
    },
    // Control (SPC-4 7.5): TST 1 is a task set for each I_T nexus, QUEUE ALGORITHM MODIFIER 1 is "in any order" as far as
    // task attributes allow, BUSY TIMEOUT PERIOD is unlimited.
    Page {
        code: 0x0a,
        subpage: 0,
        fixed: &[0x20, 0x10, 0, 0, 0, 0, 0xff, 0xff, 0, 0],
        parameters: &[
            (2, 2, Modes::DESCRIPTOR_SENSE),
            (4, 3, Modes::WRITE_PROTECT),
        ],
        thin: false,
    },
    // Control extension (SPC-4 7.5): IALUAE, as REPORT TARGET PORT GROUPS says.
    Page {
        code: 0x0a,
        subpage: 0x01,
        fixed: &{
            let mut fixed = [0; 28];
            fixed[0] = 0x01;
            fixed
        },
        parameters: &[],
        thin: false,
    },
    // Informational exceptions control (SPC-4 7.5): DEXCPT, none is reported.
    Page {
        code: 0x1c,
        subpage: 0,
        fixed: &[0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        parameters: &[],
        thin: false,
    },
    // Logical block provisioning (SBC-3): no threshold.
    Page {
        code: 0x1c,
        subpage: 0x02,
        fixed: &[0; 12],
        parameters: &[],
        thin: true,
    },
];

/// SPF: the page has a subpage code.
const SPF: u8 = 0x40;

/// The pages of a unit, sorted by page code and subpage code.
pub(super) fn pages_of(unit: &LogicalUnit) -> impl Iterator<Item = &'static Page> {
    let thin = unit.model().provisioning.is_some();
    PAGES.iter().filter(move |page| thin || !page.thin)
}

impl Page {
    /// The page, from its code on.
    pub(super) fn bytes(&self, values: Values) -> Vec<u8> {
        let mut page = self.header();
        let length = page.len() + self.fixed.len();
        let modes = match values {
            Values::Of(modes) => {
                page.extend(self.fixed);
                modes
            }
            Values::Changeable => {
                page.resize(length, 0);
                Modes::ALL
            }
        };
        for &(byte, bit, mode) in self.parameters {
            page[byte] |= u8::from(modes.has(mode)) << bit;
        }
        page
    }

    /// Page code, subpage code if there is one, and page length.
    pub(super) fn header(&self) -> Vec<u8> {
        let length = self.fixed.len() as u8;
        match self.subpage {
            0 => vec![self.code, length],
            subpage => vec![SPF | self.code, subpage, 0, length],
        }
    }

    /// Reads the parameters of a page that is as long as [`bytes`](Self::bytes) makes it.
    pub(super) fn read(&self, page: &[u8], modes: Modes) -> Modes {
        self.parameters
            .iter()
            .fold(modes, |modes, &(byte, bit, mode)| {
                let on = page.get(byte).is_some_and(|value| value >> bit & 1 == 1);
                modes.with(mode, on)
            })
    }
}
