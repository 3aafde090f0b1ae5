//! What `rpc.schema` tells: methods, parameters, results, events and errors, for programs.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::Value;

use super::methods;
use super::params::{Kind, Param};
use super::rpc::{Code, RpcError};
use crate::events::Event;

/// `rpc schema`: the methods that there are.
#[derive(Serialize, JsonSchema)]
pub(super) struct RpcSchema {
    /// All methods.
    pub(super) methods: Vec<MethodSchema>,
    /// What comes as the params of the notification `event`, as a JSON Schema.
    pub(super) event: Schema,
    /// The member `error` of an answer, as a JSON Schema.
    pub(super) error: Schema,
    /// The kinds of failure that there are.
    pub(super) errors: Vec<ErrorSchema>,
    /// JSON Schemas of reports, by name: what `$ref` refers to.
    #[serde(rename = "$defs")]
    pub(super) definitions: BTreeMap<String, Value>,
}

/// One method.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Method")]
pub(super) struct MethodSchema {
    /// `noun.verb`.
    pub(super) name: &'static str,
    /// What it is for.
    pub(super) description: &'static str,
    /// By name, or by position in this order.
    pub(super) params: Vec<ParamSchema>,
    /// What comes out, as a JSON Schema.
    pub(super) result: Schema,
    /// Whether anything is different afterwards.
    pub(super) changes: bool,
    /// Whether it may be part of a `transaction`.
    pub(super) transaction: bool,
    /// Codes of the failures that callers should expect, beyond those of any request.
    pub(super) errors: Vec<i32>,
}

/// One parameter, or one key of an object. What is not required may also be null.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Param")]
pub(super) struct ParamSchema {
    /// Its name.
    pub(super) name: &'static str,
    /// What it is for.
    pub(super) description: &'static str,
    /// Whether it has to be there.
    pub(super) required: bool,
    /// What it may be.
    #[serde(flatten)]
    pub(super) kind: TypeSchema,
}

/// What a value may be.
#[derive(Default, Serialize, JsonSchema)]
#[schemars(rename = "Type")]
pub(super) struct TypeSchema {
    /// `string`, `boolean`, `integer`, `list`, `object`, `map` (an object whose keys are free), `size` (bytes: an integer, or a string such as `10GiB`),
    /// `duration` (seconds: a number, or a string such as `500ms`), or `any` (of those in `any_of`).
    #[serde(rename = "type")]
    pub(super) name: &'static str,
    /// The strings that it may be.
    #[serde(rename = "enum", skip_serializing_if = "Option::is_none")]
    pub(super) words: Option<&'static [&'static str]>,
    /// The least that it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) minimum: Option<u64>,
    /// The most that it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) maximum: Option<u64>,
    /// What the items of a list are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) items: Option<Box<TypeSchema>>,
    /// What the values of a map are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) values: Option<Box<TypeSchema>>,
    /// The keys of an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) keys: Option<Vec<ParamSchema>>,
    /// What it may be instead of one thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) any_of: Option<Vec<TypeSchema>>,
}

/// A kind of failure.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ErrorKind")]
pub(super) struct ErrorSchema {
    /// The member `code` of an error.
    pub(super) code: i32,
    /// In short.
    pub(super) name: &'static str,
    /// When it comes.
    pub(super) description: &'static str,
}

/// All of it.
pub(super) fn schema() -> RpcSchema {
    let mut generator = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    let methods = methods::all()
        .map(|method| MethodSchema {
            name: method.name,
            description: method.description,
            params: params(method.params),
            result: (method.result)(&mut generator),
            changes: method.changes(),
            transaction: method.is_edit(),
            errors: method.errors.iter().map(|code| code.number()).collect(),
        })
        .collect();
    let errors = Code::ALL.map(|code| ErrorSchema {
        code: code.number(),
        name: code.name(),
        description: code.description(),
    });
    let event = generator.subschema_for::<Event>();
    let error = generator.subschema_for::<RpcError>();
    let definitions = generator.take_definitions(true).into_iter();
    let definitions = definitions.map(|(name, mut definition)| {
        unwrap_lines(&mut definition);
        (name, definition)
    });
    RpcSchema {
        methods,
        event,
        error,
        errors: errors.into(),
        definitions: definitions.collect(),
    }
}

/// Where a description's lines end is a matter of the source text.
fn unwrap_lines(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::String(text)) = members.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            members.values_mut().for_each(unwrap_lines);
        }
        Value::Array(items) => items.iter_mut().for_each(unwrap_lines),
        _ => {}
    }
}

fn params(params: &[Param]) -> Vec<ParamSchema> {
    let param = |param: &Param| ParamSchema {
        name: param.name,
        description: param.description,
        required: param.required,
        kind: kind(param.kind),
    };
    params.iter().map(param).collect()
}

fn kind(of: Kind) -> TypeSchema {
    let named = |name| TypeSchema {
        name,
        ..TypeSchema::default()
    };
    let boxed = |inner: &Kind| Some(Box::new(kind(*inner)));
    match of {
        Kind::String => named("string"),
        Kind::Boolean => named("boolean"),
        Kind::Size => named("size"),
        Kind::Duration => named("duration"),
        Kind::Word(words) => TypeSchema {
            words: Some(words),
            ..named("string")
        },
        Kind::Integer(minimum, maximum) => TypeSchema {
            minimum: Some(minimum),
            maximum: (maximum < u64::MAX).then_some(maximum),
            ..named("integer")
        },
        Kind::List(items) => TypeSchema {
            items: boxed(items),
            ..named("list")
        },
        Kind::Map(values) => TypeSchema {
            values: boxed(values),
            ..named("map")
        },
        // No keys are told where others know them.
        Kind::Object(keys) => TypeSchema {
            keys: (!keys.is_empty()).then(|| params(keys)),
            ..named("object")
        },
        Kind::Either(one, other) => TypeSchema {
            any_of: Some(vec![kind(*one), kind(*other)]),
            ..named("any")
        },
    }
}
