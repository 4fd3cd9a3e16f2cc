//! `config.json` of a Hugging Face model, as far as a RoBERTa classifier needs it.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

use super::{ModelError, labels::Labels};

/// The shape of a model. Defaults are those of Hugging Face's `RobertaConfig`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Settings {
    model_type: String,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    #[serde(default = "epsilon")]
    pub layer_norm_eps: f32,
    #[serde(default = "pad")]
    pub pad_token_id: u32,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "absolute")]
    position_embedding_type: String,
    id2label: Option<BTreeMap<usize, String>>,
}

fn epsilon() -> f32 {
    1e-12
}

fn pad() -> u32 {
    1
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn absolute() -> String {
    "absolute".to_owned()
}

impl Settings {
    /// Reads and checks the file.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let text = fs::read_to_string(path)
            .map_err(|error| ModelError::File { path: path.to_owned(), message: error.to_string() })?;
        Self::parse(&text).map_err(|message| ModelError::Config { path: path.to_owned(), message })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let settings: Settings = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let only = |key: &str, value: &str, known: &[&str]| match known.contains(&value) {
            true => Ok(()),
            false => Err(format!("{key} is \"{value}\"; what runs here is {}", known.join(", "))),
        };
        only("model_type", &settings.model_type, &["roberta", "xlm-roberta"])?;
        only("hidden_act", &settings.hidden_act, &["gelu"])?;
        only("position_embedding_type", &settings.position_embedding_type, &["absolute"])?;
        if settings.num_attention_heads == 0 || !settings.hidden_size.is_multiple_of(settings.num_attention_heads) {
            return Err(format!(
                "hidden_size {} is not divisible by num_attention_heads {}",
                settings.hidden_size, settings.num_attention_heads
            ));
        }
        if settings.hidden_size == 0
            || settings.max_tokens() < 3
            || settings.pad_token_id as usize >= settings.vocab_size
        {
            return Err("hidden_size, max_position_embeddings or vocab_size is too small".to_owned());
        }
        settings.labels()?;
        Ok(settings)
    }

    /// The most tokens of a text, both ends included: positions count on from the padding's.
    pub fn max_tokens(&self) -> usize {
        self.max_position_embeddings.saturating_sub(self.pad_token_id as usize + 1)
    }

    /// The labels; a configuration that names none has two.
    pub fn labels(&self) -> Result<Labels, String> {
        let named = self.id2label.clone().unwrap_or_else(|| (0..2).map(|id| (id, format!("LABEL_{id}"))).collect());
        if named.is_empty() || named.keys().enumerate().any(|(place, id)| place != *id) {
            return Err("id2label does not number its labels 0, 1, 2, …".to_owned());
        }
        Ok(Labels::new(named.into_values().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#"{"model_type":"roberta","vocab_size":50265,"hidden_size":768,"num_hidden_layers":12,
        "num_attention_heads":12,"intermediate_size":3072,"max_position_embeddings":514,"type_vocab_size":1,
        "id2label":{"0":"LABEL_0","1":"LABEL_1","2":"LABEL_2"},"architectures":["RobertaForSequenceClassification"]}"#;

    #[test]
    fn a_roberta_classifier_is_read() {
        let settings = Settings::parse(BASE).unwrap();
        assert_eq!((settings.max_tokens(), settings.pad_token_id), (512, 1));
        assert_eq!(settings.labels().unwrap().len(), 3);
    }

    #[test]
    fn what_does_not_run_here_is_refused_by_its_key() {
        for (from, to, word) in [
            ("\"roberta\"", "\"bert\"", "model_type"),
            ("\"model_type\"", "\"hidden_act\":\"relu\",\"model_type\"", "hidden_act"),
            (
                "\"model_type\"",
                "\"position_embedding_type\":\"relative_key\",\"model_type\"",
                "position_embedding_type",
            ),
            (":12,\n", ":12,\"num_attention_headz\":7,", "num_attention_heads"),
            ("\"1\":\"LABEL_1\",", "", "id2label"),
            (":514", ":2", "max_position_embeddings"),
            ("\"vocab_size\":50265,", "", "vocab_size"),
        ] {
            let text = BASE.replacen(from, to, 1).replace(
                "\"num_attention_heads\":12",
                match word {
                    "num_attention_heads" => "\"num_attention_heads\":7",
                    _ => "\"num_attention_heads\":12",
                },
            );
            let error = Settings::parse(&text).unwrap_err();
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}
