//! Mode pages (SPC-4 7.5, SBC-3).

use crate::scsi::unit::Modes;

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
    /// What follows the page length when no parameter is set.
    fixed: &'static [u8],
    /// Byte, counted from the page code on, and bit of each parameter.
    parameters: &'static [(usize, u8, Modes)],
}

/// Sorted by page code.
pub(super) static PAGES: &[Page] = &[
    // Read-write error recovery (SBC-3): nothing is recovered or reallocated here.
    Page {
        code: 0x01,
        fixed: &[0; 10],
        parameters: &[],
    },
    // Caching (SBC-3): WCE.
    Page {
        code: 0x08,
        fixed: &[0; 18],
        parameters: &[(2, 2, Modes::WRITE_CACHE)],
    },
    // Control (SPC-4 7.5): QUEUE ALGORITHM MODIFIER 1 is "in any order", BUSY TIMEOUT PERIOD is unlimited.
    Page {
        code: 0x0a,
        fixed: &[0, 0x10, 0, 0, 0, 0, 0xff, 0xff, 0, 0],
        parameters: &[
            (2, 2, Modes::DESCRIPTOR_SENSE),
            (4, 3, Modes::WRITE_PROTECT),
        ],
    },
    // Informational exceptions control (SPC-4 7.5): DEXCPT, none is reported.
    Page {
        code: 0x1c,
        fixed: &[0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        parameters: &[],
    },
];

impl Page {
    /// The page, from its code on.
    pub(super) fn bytes(&self, values: Values) -> Vec<u8> {
        let mut page = vec![self.code, self.fixed.len() as u8];
        let modes = match values {
            Values::Of(modes) => {
                page.extend(self.fixed);
                modes
            }
            Values::Changeable => {
                page.resize(2 + self.fixed.len(), 0);
                Modes::ALL
            }
        };
        for &(byte, bit, mode) in self.parameters {
            page[byte] |= u8::from(modes.has(mode)) << bit;
        }
        page
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
