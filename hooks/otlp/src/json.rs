//! Parts of the bodies in JSON, appended to a text.

use wrapper_hook::{String, json::push as push_json, text};

/// Appends an attribute; `kind` is the type of its value: `string`, `int` or `double`.
pub fn attribute(attributes: &mut String, name: &str, kind: &str, value: &str) {
    if !attributes.is_empty() {
        attributes.push(',');
    }
    attributes.push_str("{\"key\":\"");
    push_json(attributes, name);
    *attributes += &text!("\",\"value\":{{\"{kind}Value\":\"");
    push_json(attributes, value);
    attributes.push_str("\"}}");
}
