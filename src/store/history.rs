//! How an image was made: the steps that its config tells of, and which layer each has left.

use serde_json::Value;

use super::Store;
use super::error::Error;
use super::record::{ImageLayer, ImageRecord};

/// A step in which an image was made. All texts are the archive's own: nobody has checked them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// When (RFC 3339, if the config keeps to it).
    pub created: Option<String>,
    /// The instruction.
    pub created_by: Option<String>,
    /// What its maker says of it.
    pub comment: Option<String>,
    /// Its layer, and its number: 1 is the base. A step that changed only the config has none.
    pub layer: Option<(usize, ImageLayer)>,
}

impl Store {
    /// Returns the steps in which an image was made, the first one first.
    pub fn history(&self, image: &ImageRecord) -> Result<Vec<Step>, Error> {
        let config = serde_json::from_slice(&self.image_config(&image.id)?).unwrap_or_default();
        Ok(steps(&config, &image.layers))
    }
}

/// Gives each step that left a layer its own, from the base up. Layers of which the config does not tell have a step
/// without a text; a step whose layer is not there has none.
fn steps(config: &Value, layers: &[ImageLayer]) -> Vec<Step> {
    let mut layers = layers.iter().cloned().enumerate().map(|(nr, layer)| (nr + 1, layer));
    let told = config.get("history").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let step = |told: &Value| {
        let text = |key: &str| told.get(key).and_then(Value::as_str).map(str::to_owned);
        let is_empty = told.get("empty_layer").and_then(Value::as_bool).unwrap_or_default();
        Step {
            created: text("created"),
            created_by: text("created_by"),
            comment: text("comment"),
            layer: if is_empty { None } else { layers.next() },
        }
    };
    let mut steps: Vec<Step> = told.iter().map(step).collect();
    steps.extend(layers.map(|layer| Step { layer: Some(layer), ..Step::default() }));
    steps
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::digest::Digest;

    /// Says of each step its instruction and the number of its layer.
    fn told(history: &Value, layers: usize) -> Vec<String> {
        let layer = ImageLayer { chain_id: Digest::of(b"c"), diff_id: Digest::of(b"d"), size: 1 };
        let steps = steps(&json!({"history": history}), &vec![layer; layers]);
        let number = |step: &Step| step.layer.as_ref().map_or("-".to_owned(), |(nr, _)| nr.to_string());
        let text = |step: &Step| step.created_by.clone().unwrap_or_else(|| "?".to_owned());
        steps.iter().map(|step| format!("{} {}", text(step), number(step))).collect()
    }

    #[test]
    fn each_step_that_left_a_layer_has_its_own() {
        let history = json!([
            {"created_by": "ADD"},
            {"created_by": "ENV", "empty_layer": true},
            {"created_by": "RUN", "empty_layer": false},
        ]);
        assert_eq!(told(&history, 2), ["ADD 1", "ENV -", "RUN 2"]);
        assert_eq!(told(&history, 3), ["ADD 1", "ENV -", "RUN 2", "? 3"]);
        assert_eq!(told(&history, 1), ["ADD 1", "ENV -", "RUN -"]);
    }

    #[test]
    fn image_without_a_history_has_its_layers() {
        for history in [json!(null), json!([]), json!("none"), json!({"a": 1})] {
            assert_eq!(told(&history, 2), ["? 1", "? 2"], "{history}");
        }
        assert_eq!(told(&json!([7, {"created_by": 7}]), 2), ["? 1", "? 2"]);
    }
}
