//! The two halves of the header check: what the bindings say, as Rust, and what the headers say, as
//! C.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;

use quote::ToTokens;
use syn::{Fields, ImplItem, Item, Type};

/// Structures that the libraries allocate. They may have grown at the end; what Rust reads must be
/// where it was.
const LIBRARY_OWNED: &[&str] = &[
    "ibv_comp_channel",
    "ibv_mr",
    "rdma_cm_event",
    "rdma_event_channel",
];

pub struct Tables {
    pub rust: String,
    pub c: String,
}

/// Both tables, in the same order.
pub fn tables(sources: &[&str]) -> Result<Tables, Box<dyn Error>> {
    let mut items = Vec::new();
    for source in sources {
        items.extend(syn::parse_file(source)?.items);
    }
    let records = records(&items);
    let mut out = Entries::default();
    for (name, record) in &records {
        if name.contains("__bindgen") {
            continue;
        }
        let c_type = format!(
            "{} {name}",
            if record.is_union { "union" } else { "struct" }
        );
        let rule = if LIBRARY_OWNED.contains(&name.as_str()) {
            "AtLeast"
        } else {
            "Exactly"
        };
        out.push(
            rule,
            &format!("sizeof {name}"),
            &format!("size_of::<{name}>()"),
            &format!("sizeof({c_type})"),
        );
        out.push(
            "Exactly",
            &format!("alignof {name}"),
            &format!("align_of::<{name}>()"),
            &format!("_Alignof({c_type})"),
        );
        fields(&mut out, &records, name, &c_type, record, "", "");
    }
    for item in &items {
        constants(&mut out, item);
    }
    Ok(out.finish())
}

struct Record<'a> {
    is_union: bool,
    fields: Vec<(String, &'a Type)>,
}

fn records(items: &[Item]) -> BTreeMap<String, Record<'_>> {
    let mut records = BTreeMap::new();
    for item in items {
        let (ident, is_union, fields) = match item {
            Item::Struct(s) => match &s.fields {
                Fields::Named(f) => (&s.ident, false, &f.named),
                _ => continue,
            },
            Item::Union(u) => (&u.ident, true, &u.fields.named),
            _ => continue,
        };
        let fields = fields
            .iter()
            .filter_map(|f| f.ident.as_ref().map(|i| (i.to_string(), &f.ty)))
            .collect();
        records.insert(ident.to_string(), Record { is_union, fields });
    }
    records
}

/// The fields of a record, those of its unnamed and inline records included: C names `imm_data` and
/// `wr.rdma.rkey` where Rust has to name `__bindgen_anon_1.imm_data` and `wr.rdma.rkey`.
fn fields(
    out: &mut Entries,
    records: &BTreeMap<String, Record<'_>>,
    top: &str,
    c_type: &str,
    record: &Record<'_>,
    rust_path: &str,
    c_path: &str,
) {
    for (field, ty) in &record.fields {
        let ty_name = ty.to_token_stream().to_string().replace(' ', "");
        let rust_path = format!("{rust_path}{field}");
        if ty_name.contains("__bindgen") && records.contains_key(&ty_name) {
            let c_path = if field.starts_with("__bindgen_anon") {
                c_path.into()
            } else {
                format!("{c_path}{field}.")
            };
            fields(
                out,
                records,
                top,
                c_type,
                &records[&ty_name],
                &format!("{rust_path}."),
                &c_path,
            );
            continue;
        }
        // bindgen appends an underscore to Rust keywords.
        let c_field = if field == "type_" { "type" } else { field };
        let c_path = format!("{c_path}{c_field}");
        out.push(
            "Exactly",
            &format!("offsetof {top}.{c_path}"),
            &format!("offset_of!({top}, {rust_path})"),
            &format!("offsetof({c_type}, {c_path})"),
        );
        out.push(
            "Exactly",
            &format!("sizeof {top}.{c_path}"),
            &format!("size_of::<{}>()", ty.to_token_stream()),
            &format!("sizeof((({c_type} *)0)->{c_path})"),
        );
    }
}

fn constants(out: &mut Entries, item: &Item) {
    match item {
        Item::Const(c) if c.ident != "_" => {
            let name = c.ident.to_string();
            out.push("Exactly", &name, &name, &name);
        }
        Item::Impl(i) if i.trait_.is_none() => {
            let ty = i.self_ty.to_token_stream().to_string();
            for item in &i.items {
                if let ImplItem::Const(c) = item {
                    let name = c.ident.to_string();
                    out.push("Exactly", &name, &format!("{ty}::{name}.0"), &name);
                }
            }
        }
        _ => {}
    }
}

#[derive(Default)]
struct Entries {
    rust: String,
    c: String,
}

impl Entries {
    fn push(&mut self, rule: &str, name: &str, rust: &str, c: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.rust, "    ({name:?}, {rule}, {rust} as i64),");
        let _ = writeln!(self.c, "\t{{ {name:?}, (int64_t)({c}) }},");
    }

    fn finish(self) -> Tables {
        let rust = format!(
            "use std::mem::offset_of;\n\nuse super::Rule::{{self, AtLeast, Exactly}};\nuse crate::bindings::*;\nuse crate::opaque::*;\n\n\
             #[rustfmt::skip]\n\
             pub(super) const EXPECTED: &[(&str, Rule, i64)] = &[\n{}];\n",
            self.rust
        );
        let c = format!(
            "/* Written by regenerate/. Do not edit. */\n#include \"shim.h\"\n\n\
             static const struct pc_layout_entry table[] = {{\n{}}};\n\n\
             const struct pc_layout_entry *pc_layout_table(size_t *len)\n\
             {{\n\t*len = sizeof(table) / sizeof(table[0]);\n\treturn table;\n}}\n",
            self.c
        );
        Tables { rust, c }
    }
}
