//! Compiles the C shim against the installed rdma-core headers and links libibverbs and librdmacm.

use std::path::PathBuf;
use std::process::exit;

/// Versions of rdma-core 44, the oldest whose headers name every constant in the bindings.
const LIBRARIES: [(&str, &str); 2] = [("libibverbs", "1.14.44"), ("librdmacm", "1.3.44")];

const SOURCES: [&str; 3] = ["shim/verbs.c", "shim/cm.c", "shim/layout.c"];

/// A provider for the crate's tests.
const FAKE: &str = "shim/fake.c";

fn main() {
    for path in SOURCES.iter().chain(&[FAKE, "shim/shim.h"]) {
        println!("cargo::rerun-if-changed={path}");
    }

    // The shim goes to the linker before the libraries that it needs, hence metadata by hand and in
    // this order.
    let mut include = Vec::new();
    let mut link = Vec::new();
    for (name, version) in LIBRARIES {
        let found = pkg_config::Config::new()
            .atleast_version(version)
            .cargo_metadata(false)
            .probe(name);
        match found {
            Ok(library) => {
                include.extend(library.include_paths);
                link.extend(
                    library
                        .link_paths
                        .iter()
                        .map(|path| format!("search=native={}", path.display())),
                );
                link.extend(library.libs.iter().map(|lib| format!("lib={lib}")));
            }
            Err(error) => missing(name, version, &error),
        }
    }

    compile(&SOURCES, &include, "pagecast_rdma_shim", true);
    // The crate's tests name this one themselves.
    compile(&[FAKE], &include, "pagecast_rdma_fake", false);
    for flag in link {
        println!("cargo::rustc-link-{flag}");
    }
}

fn compile(sources: &[&str], include: &[PathBuf], name: &str, link: bool) {
    let result = cc::Build::new()
        .files(sources)
        .includes(include)
        .include("shim")
        .std("gnu11")
        .warnings(true)
        .extra_warnings(true)
        // The headers' own inlines convert between signed and unsigned.
        .flag_if_supported("-Wno-sign-compare")
        // A shim call is one jump; keep it so in debug builds.
        .opt_level(2)
        .cargo_metadata(link)
        .try_compile(name);
    if let Err(error) = result {
        println!(
            "cargo::error=cannot compile the C shim ({}): {error}",
            sources.join(", ")
        );
        println!(
            "cargo::error=on Debian and Ubuntu: apt-get install build-essential libibverbs-dev librdmacm-dev"
        );
        exit(1);
    }
}

fn missing(name: &str, version: &str, error: &pkg_config::Error) -> ! {
    println!("cargo::error={name} >= {version} (rdma-core 44) was not found");
    println!(
        "cargo::error=on Debian and Ubuntu: apt-get install libibverbs-dev librdmacm-dev pkg-config"
    );
    println!("cargo::error=elsewhere: the development package of rdma-core, and pkg-config");
    println!("cargo::warning={}", error.to_string().replace('\n', " "));
    exit(1);
}
