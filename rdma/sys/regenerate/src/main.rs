//! Rewrites `src/bindings/{types,functions}.rs`, `src/layout/expected.rs` and `shim/layout.c` of
//! the `rdma-sys` crate.
//!
//! The bindings come from `shim/shim.h` and the installed rdma-core headers, by bindgen. The two
//! halves of the header check come from the bindings, so that every field and constant that Rust
//! can name is compared.

mod layout;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use bindgen::callbacks::{IntKind, ParseCallbacks};
use bindgen::{Builder, EnumVariation, Formatter, RustEdition, RustTarget};

/// Types that Rust only holds pointers to. Their layout is left to C; the shim has accessors for
/// the few fields needed.
const OPAQUE: &str =
    "ibv_ah|ibv_context|ibv_cq|ibv_device|ibv_mw|ibv_pd|ibv_qp|ibv_srq|ibv_wq|rdma_cm_id";

/// Structures that no call returns a pointer to or takes one of through the functions alone, and
/// names for plain integers.
const EXTRA_TYPES: &str = "sockaddr_ib|ibv_(access|send|wc|device_cap|port_cap)_flags|ibv_qp_attr_mask\
    |ibv_srq_attr_mask|ibv_odp_general_caps|ibv_odp_transport_cap_bits|ib_uverbs_advise_mr_flag";

/// The enums of those that are sets of bits.
const BIT_SETS: &str = "ibv_(access|send|wc|device_cap|port_cap)_flags|ibv_qp_attr_mask|ibv_srq_attr_mask\
    |ibv_odp_general_caps|ibv_odp_transport_cap_bits|ib_uverbs_advise_mr_flag";

const CONSTANTS: &str = "AF_IB|RDMA_OPTION_(ID|ID_.*)|RDMA_MAX_(RESP_RES|INIT_DEPTH)|RDMA_IB_IP_.*|RDMA_IB_PS_IB\
    |IBV_LINK_LAYER_.*";

const HEADER: &str = "// Written by regenerate/. Do not edit.\n\n";

fn main() -> Result<(), Box<dyn Error>> {
    let root = match env::args_os().nth(1) {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
    };
    let types = types(&root)?;
    let functions = functions(&root)?;
    let layout = layout::tables(&[&types, &functions])?;

    write_rust(
        &root.join("src/bindings/types.rs"),
        &format!("{HEADER}use crate::opaque::*;\n\n{types}"),
    )?;
    write_rust(
        &root.join("src/bindings/functions.rs"),
        &format!(
            "{HEADER}use super::types::*;\nuse crate::opaque::*;\nuse libc::sockaddr;\n\n{functions}"
        ),
    )?;
    write_rust(
        &root.join("src/layout/expected.rs"),
        &format!("{HEADER}{}", layout.rust),
    )?;
    fs::write(root.join("shim/layout.c"), layout.c)?;
    Ok(())
}

/// Structures, enums and constants of the rdma-core headers. Their comments stay behind.
fn types(root: &Path) -> Result<String, Box<dyn Error>> {
    let text = common(root)
        .allowlist_function("pc_.*")
        .allowlist_type(EXTRA_TYPES)
        .allowlist_var(CONSTANTS)
        .blocklist_item("pc_.*")
        .blocklist_type("sockaddr|sa_family_t")
        .default_enum_style(EnumVariation::NewType {
            is_bitfield: false,
            is_global: false,
        })
        .bitfield_enum(BIT_SETS)
        // Unnamed enums go by the names of their members.
        .constified_enum("RDMA_OPTION_.*|RDMA_MAX_.*|IBV_LINK_LAYER_.*")
        .generate_comments(false)
        .generate()?
        .to_string();
    Ok(name_anonymous(&text))
}

/// Constants of unnamed enums get the type of the field or argument that they are for, in place of
/// bindgen's numbered aliases, which change with every header.
fn name_anonymous(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        if line.starts_with("pub type _bindgen_ty_") {
            continue;
        }
        match line
            .split_once(": _bindgen_ty_")
            .zip(line.split_once(" = "))
        {
            Some(((left, _), (_, value))) => {
                let ty = if left.contains(" RDMA_OPTION_") {
                    "std::ffi::c_int"
                } else {
                    "u8"
                };
                out += &format!("{left}: {ty} = {value}\n");
            }
            None => out += &format!("{line}\n"),
        }
    }
    out
}

/// The shim's functions and own structures, with their docs.
fn functions(root: &Path) -> Result<String, Box<dyn Error>> {
    Ok(common(root)
        .allowlist_function("pc_.*")
        .allowlist_type("pc_.*")
        .allowlist_recursively(false)
        .generate_comments(true)
        .generate()?
        .to_string())
}

fn common(root: &Path) -> Builder {
    bindgen::builder()
        .header(root.join("shim/shim.h").to_string_lossy())
        .rust_target(RustTarget::stable(85, 0).unwrap_or_default())
        .rust_edition(RustEdition::Edition2024)
        // Not followed into (opaque), and not written out (blocked): src/opaque.rs declares them.
        .opaque_type(OPAQUE)
        .blocklist_type(OPAQUE)
        .parse_callbacks(Box::new(Constants))
        .ctypes_prefix("std::ffi")
        .use_core()
        .layout_tests(false)
        .merge_extern_blocks(true)
        .derive_default(true)
        .derive_debug(true)
        .prepend_enum_name(false)
        .disable_header_comment()
        .formatter(Formatter::Prettyplease)
}

/// Gives macros the integer type of their use; bindgen picks the smallest that fits, and signed for
/// 64-bit masks.
#[derive(Debug)]
struct Constants;

impl ParseCallbacks for Constants {
    fn int_macro(&self, name: &str, _value: i64) -> Option<IntKind> {
        match name {
            "AF_IB" => Some(IntKind::U16),
            _ if name.starts_with("RDMA_IB_") => Some(IntKind::U64),
            _ => None,
        }
    }
}

/// Writes a source file and runs rustfmt over it, so that a regenerated tree passes the format
/// check.
fn write_rust(path: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    fs::write(path, text)?;
    let status = Command::new("rustfmt")
        .args(["--edition", "2024"])
        .arg(path)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("rustfmt failed on {}", path.display()).into())
    }
}
