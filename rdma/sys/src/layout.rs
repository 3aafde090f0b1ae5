//! The header check: do the committed bindings say what the installed headers say?
//!
//! The shim carries a table of sizes, alignments, offsets and constants as the C compiler saw them;
//! the Rust side of the same table comes from the bindings. Both are written by `regenerate/`, so
//! every field and constant that Rust can name is compared. CI runs the check as a test, and a
//! program can run it at start.

mod expected;

use std::error::Error;
use std::ffi::CStr;
use std::fmt;
use std::slice;

use crate::{pc_layout_entry, pc_layout_table};

/// Compares the bindings with the headers that the shim was compiled against.
///
/// On an error nothing else of this crate may be called: structures would be read and written in
/// the wrong places.
pub fn verify() -> Result<(), LayoutError> {
    let differences = compare(expected::EXPECTED, installed());
    if differences.is_empty() {
        Ok(())
    } else {
        Err(LayoutError { differences })
    }
}

/// The bindings do not fit the installed headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutError {
    /// All that differs, in the order of the table.
    pub differences: Vec<Difference>,
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the RDMA bindings do not fit the installed rdma-core headers"
        )?;
        for difference in &self.differences {
            write!(f, "; {difference}")?;
        }
        Ok(())
    }
}

impl Error for LayoutError {}

/// One fact on which bindings and headers disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What was compared, such as `offsetof ibv_wc.qp_num`.
    pub name: &'static str,
    /// What the bindings say; `None` when only the headers' table has it.
    pub bindings: Option<i64>,
    /// What the headers say; `None` when only the bindings' table has it.
    pub headers: Option<i64>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |value: Option<i64>| {
            value.map_or_else(|| "nothing".to_owned(), |value| value.to_string())
        };
        write!(
            f,
            "{}: bindings {}, headers {}",
            self.name,
            side(self.bindings),
            side(self.headers)
        )
    }
}

/// How a measurement in the headers must relate to that of the bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// For what Rust allocates, and for all offsets and constants.
    Exactly,
    /// For the size of what a library allocates: newer ones may append fields.
    AtLeast,
}

impl Rule {
    fn holds(self, bindings: i64, headers: i64) -> bool {
        match self {
            Self::Exactly => headers == bindings,
            Self::AtLeast => headers >= bindings,
        }
    }
}

fn installed() -> Vec<(&'static str, i64)> {
    let mut len = 0;
    // SAFETY: the shim returns a static array and writes its length to `len`, which is a live,
    // writable size_t.
    let entries: &[pc_layout_entry] =
        unsafe { slice::from_raw_parts(pc_layout_table(&mut len), len) };
    entries
        .iter()
        .map(|entry| {
            // SAFETY: every `name` in the shim's table is a string literal: NUL-terminated, static
            // and never written.
            let name = unsafe { CStr::from_ptr(entry.name) };
            (name.to_str().unwrap_or("(not UTF-8)"), entry.value)
        })
        .collect()
}

fn compare(
    bindings: &[(&'static str, Rule, i64)],
    headers: Vec<(&'static str, i64)>,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut headers = headers.into_iter();
    for &(name, rule, expected) in bindings {
        match headers.next() {
            Some((found, value)) if found == name => {
                if !rule.holds(expected, value) {
                    differences.push(Difference {
                        name,
                        bindings: Some(expected),
                        headers: Some(value),
                    });
                }
            }
            // Only when the two files were not written together.
            _ => differences.push(Difference {
                name,
                bindings: Some(expected),
                headers: None,
            }),
        }
    }
    differences.extend(headers.map(|(name, value)| Difference {
        name,
        bindings: None,
        headers: Some(value),
    }));
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bindings_fit_the_installed_headers() {
        assert_eq!(verify(), Ok(()));
    }

    /// An empty table would fit anything.
    #[test]
    fn table_covers_the_structures_on_the_data_path() {
        let names: Vec<_> = installed().into_iter().map(|(name, _)| name).collect();
        for name in [
            "sizeof ibv_wc",
            "alignof ibv_send_wr",
            "offsetof ibv_wc.invalidated_rkey",
            "offsetof ibv_send_wr.wr.rdma.rkey",
            "offsetof rdma_cm_event.param.conn",
            "offsetof sockaddr_ib.sib_sid",
            "sizeof pc_device_attr",
            "IBV_WC_RNR_RETRY_EXC_ERR",
            "IBV_ACCESS_ON_DEMAND",
            "RDMA_IB_IP_PS_MASK",
            "RDMA_OPTION_ID_ACK_TIMEOUT",
        ] {
            assert!(names.contains(&name), "{name} is not compared");
        }
    }

    #[test]
    fn every_kind_of_difference_is_seen() {
        let bindings = [
            ("a", Rule::Exactly, 8),
            ("b", Rule::AtLeast, 8),
            ("c", Rule::AtLeast, 8),
        ];
        assert_eq!(compare(&bindings, vec![("a", 8), ("b", 16), ("c", 8)]), []);

        let found = compare(&bindings, vec![("a", 16), ("b", 4), ("x", 8), ("y", 1)]);
        assert_eq!(
            found,
            [
                Difference {
                    name: "a",
                    bindings: Some(8),
                    headers: Some(16)
                },
                Difference {
                    name: "b",
                    bindings: Some(8),
                    headers: Some(4)
                },
                Difference {
                    name: "c",
                    bindings: Some(8),
                    headers: None
                },
                Difference {
                    name: "y",
                    bindings: None,
                    headers: Some(1)
                },
            ]
        );
        assert_eq!(found[0].to_string(), "a: bindings 8, headers 16");
    }
}
