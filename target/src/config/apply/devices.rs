//! Devices come, go and get another size.

use serde_json::Value;

use super::luns::device_of;
use super::{free, group_of, invalid, position, read, some_of};
use crate::config::device::{DeviceConfig, Store, memory_size};
use crate::config::document::{Fault, Node, Problems, show};
use crate::config::edit::EditError;
use crate::config::tree;
use crate::config::units::ByteSize;

pub(super) fn add_device(root: &mut Node, value: &Value) -> Result<(), EditError> {
    let (node, device) = read(value, &DeviceConfig::KEYS, DeviceConfig::read)?;
    let devices = tree::items(root, "devices");
    free(devices, &device.name, &format!("device {}", device.name))?;
    if let Some(path) = device.store.path().filter(|path| !path.is_absolute()) {
        let what = format!(
            "{} is relative, and to what nobody knows",
            show(&path.to_string_lossy())
        );
        let remedy = "give the whole path, such as \"/srv/disk0.img\"";
        return Err(invalid("path", Fault::new(what, remedy)));
    }
    tree::push(root, "devices", node);
    Ok(())
}

pub(super) fn remove_device(root: &mut Node, name: &str, force: bool) -> Result<(), EditError> {
    let at = position(tree::items(root, "devices"), "device", name)?;
    let mapped = mapped_to(root, name);
    if !mapped.is_empty() && !force {
        return Err(EditError::Refused {
            what: format!("device {name} is mapped: {}", some_of(&mapped, "; ")),
            remedy: "unmap it there first, or have it done (\"force\", --force)".to_owned(),
        });
    }
    for target in tree::items_mut(root, "targets") {
        for group in tree::items_mut(target, "groups") {
            if let Some(luns) = tree::fields_mut(group, "luns") {
                luns.retain(|(_, mapped)| device_of(mapped) != Some(name));
            }
        }
    }
    tree::remove(root, "devices", at);
    Ok(())
}

/// Where a device is mapped, for a message.
fn mapped_to(root: &Node, device: &str) -> Vec<String> {
    let mut mapped = Vec::new();
    for target in tree::items(root, "targets") {
        for group in tree::items(target, "groups") {
            let luns = tree::fields(group, "luns").iter();
            let luns = luns.filter(|(_, mapped)| device_of(mapped) == Some(device));
            let luns: Vec<String> = luns.map(|(lun, _)| lun.clone()).collect();
            if !luns.is_empty() {
                mapped.push(format!(
                    "LUN {} of {}",
                    some_of(&luns, ", "),
                    group_of(group, target)
                ));
            }
        }
    }
    mapped
}

pub(super) fn resize_device(root: &mut Node, name: &str, size: u64) -> Result<(), EditError> {
    let at = position(tree::items(root, "devices"), "device", name)?;
    let Some(device) = tree::items_mut(root, "devices").get_mut(at) else {
        return Ok(());
    };
    let config = DeviceConfig::read(&mut Problems::default(), device, "");
    let Some(config) = config.filter(|config| matches!(config.store, Store::Memory { .. })) else {
        return Err(EditError::Refused {
            what: format!(
                "device {name} is as large as what is at its path, and has no size in the configuration"
            ),
            remedy: "resize that".to_owned(),
        });
    };
    memory_size(&Node::Integer(size.into()), config.block_size)
        .map_err(|fault| invalid("size", fault))?;
    if let Some(node) = tree::field_mut(device, "size") {
        // As it was written.
        *node = match node {
            Node::Integer(_) => Node::Integer(size.into()),
            _ => Node::String(ByteSize(size).to_string()),
        };
    }
    Ok(())
}
