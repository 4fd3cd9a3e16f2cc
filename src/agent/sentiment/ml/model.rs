//! A whole model: tokenizer, weights, labels.

use std::path::Path;

use super::{
    ModelError, Verdict, labels::Labels, roberta::Roberta, runner::Classifier, settings::Settings, tokens::Tokens,
    weights::Weights,
};

/// A loaded model.
pub(super) struct Model {
    tokens: Tokens,
    roberta: Roberta,
    labels: Labels,
}

impl Model {
    /// Loads the model in that directory and sees that it computes. Half a gigabyte takes a second or two.
    pub fn load(directory: &Path, quantized: bool) -> Result<Self, ModelError> {
        let config = directory.join("config.json");
        let settings = Settings::read(&config)?;
        let labels = settings.labels().map_err(|message| ModelError::Config { path: config, message })?;
        let tokens = Tokens::read(directory, &settings)?;
        let path = directory.join("model.safetensors");
        let mut weights = Weights::read(&path, quantized)?;
        let roberta = Roberta::load(&mut weights, &settings, labels.len())?;
        weights.finish()?;
        let model = Model { tokens, roberta, labels };
        let tried = model.tokens.of("good")?;
        match model.judge(&[&tried]) {
            Ok(verdicts) if matches!(verdicts[..], [Some(_)]) => Ok(model),
            Ok(_) => Err(ModelError::Useless { path, message: "the weights give no number".to_owned() }),
            Err(error) => Err(ModelError::Useless { path, message: error.to_string() }),
        }
    }

    #[cfg(test)]
    pub fn logits(&self, texts: &[&[u32]]) -> Vec<Vec<f32>> {
        self.roberta.logits(texts).unwrap()
    }
}

impl Classifier for Model {
    fn tokens(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        self.tokens.of(text)
    }

    fn judge(&self, texts: &[&[u32]]) -> Result<Vec<Option<Verdict>>, ModelError> {
        let logits = self.roberta.logits(texts).map_err(|error| ModelError::Compute(error.to_string()))?;
        Ok(logits.iter().map(|logits| self.labels.verdict(logits)).collect())
    }
}
