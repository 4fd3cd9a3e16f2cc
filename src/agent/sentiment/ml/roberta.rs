//! RoBERTa for sequence classification: from token ids to logits.
//!
//! Liu et al. (2019), *RoBERTa: A Robustly Optimized BERT Pretraining Approach*, in the layout and with the names of
//! Hugging Face's `RobertaForSequenceClassification`; layers normalise after adding. All work is on rows: a batch of
//! n texts of t tokens is n·t rows of hidden size.

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::ops::{layer_norm, softmax_last_dim};

use super::{
    ModelError,
    settings::Settings,
    weights::{Linear, Weights},
};

struct Norm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
}

impl Norm {
    fn load(weights: &mut Weights, name: &str, settings: &Settings) -> std::result::Result<Self, ModelError> {
        let shape = [settings.hidden_size];
        Ok(Norm {
            weight: weights.tensor(&format!("{name}.weight"), &shape)?,
            bias: weights.tensor(&format!("{name}.bias"), &shape)?,
            epsilon: settings.layer_norm_eps,
        })
    }

    fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        layer_norm(&rows.contiguous()?, &self.weight, &self.bias, self.epsilon)
    }
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attended: Linear,
    attended_norm: Norm,
    wide: Linear,
    narrow: Linear,
    norm: Norm,
}

impl Layer {
    fn load(weights: &mut Weights, number: usize, settings: &Settings) -> std::result::Result<Self, ModelError> {
        let name = |part: &str| format!("roberta.encoder.layer.{number}.{part}");
        let (hidden, wide) = (settings.hidden_size, settings.intermediate_size);
        Ok(Layer {
            query: weights.linear(&name("attention.self.query"), hidden, hidden)?,
            key: weights.linear(&name("attention.self.key"), hidden, hidden)?,
            value: weights.linear(&name("attention.self.value"), hidden, hidden)?,
            attended: weights.linear(&name("attention.output.dense"), hidden, hidden)?,
            attended_norm: Norm::load(weights, &name("attention.output.LayerNorm"), settings)?,
            wide: weights.linear(&name("intermediate.dense"), hidden, wide)?,
            narrow: weights.linear(&name("output.dense"), wide, hidden)?,
            norm: Norm::load(weights, &name("output.LayerNorm"), settings)?,
        })
    }

    fn apply(&self, rows: &Tensor, mask: &Tensor, heads: usize) -> Result<Tensor> {
        let (texts, length) = (mask.dim(0)?, mask.dim(3)?);
        let size = rows.dim(1)? / heads;
        let split =
            |linear: &Linear| linear.apply(rows)?.reshape((texts, length, heads, size))?.transpose(1, 2)?.contiguous();
        let (query, key, value) = (split(&self.query)?, split(&self.key)?, split(&self.value)?);
        let likeness = (query.matmul(&key.t()?)? / (size as f64).sqrt())?.broadcast_add(mask)?;
        let mixed = softmax_last_dim(&likeness)?.matmul(&value)?;
        let mixed = mixed.transpose(1, 2)?.reshape((texts * length, heads * size))?;
        let rows = self.attended_norm.apply(&(self.attended.apply(&mixed)? + rows)?)?;
        let widened = self.wide.apply(&rows)?.gelu_erf()?;
        self.norm.apply(&(self.narrow.apply(&widened)? + rows)?)
    }
}

/// A classifier.
pub(super) struct Roberta {
    words: Tensor,
    positions: Tensor,
    /// The only token type, as one row.
    kind: Tensor,
    norm: Norm,
    layers: Vec<Layer>,
    dense: Linear,
    out: Linear,
    heads: usize,
    pad: u32,
}

impl Roberta {
    /// Takes its weights.
    pub fn load(weights: &mut Weights, settings: &Settings, labels: usize) -> std::result::Result<Self, ModelError> {
        let hidden = settings.hidden_size;
        let embeddings = |name: &str| format!("roberta.embeddings.{name}");
        let kinds = weights.tensor(&embeddings("token_type_embeddings.weight"), &[settings.type_vocab_size, hidden])?;
        Ok(Roberta {
            words: weights.tensor(&embeddings("word_embeddings.weight"), &[settings.vocab_size, hidden])?,
            positions: weights
                .tensor(&embeddings("position_embeddings.weight"), &[settings.max_position_embeddings, hidden])?,
            kind: kinds.narrow(0, 0, 1).map_err(|error| ModelError::Compute(error.to_string()))?,
            norm: Norm::load(weights, &embeddings("LayerNorm"), settings)?,
            layers: (0..settings.num_hidden_layers)
                .map(|number| Layer::load(weights, number, settings))
                .collect::<std::result::Result<_, _>>()?,
            dense: weights.linear("classifier.dense", hidden, hidden)?,
            out: weights.linear("classifier.out_proj", hidden, labels)?,
            heads: settings.num_attention_heads,
            pad: settings.pad_token_id,
        })
    }

    /// The logits of each text. A text has at least one token and at most as many as the model has positions.
    pub fn logits(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let (count, length) = (texts.len(), texts.iter().map(|text| text.len()).max().unwrap_or(0));
        let mut ids = Vec::with_capacity(count * length);
        let mut places = Vec::with_capacity(count * length);
        let mut mask = Vec::with_capacity(count * length);
        for text in texts {
            let padded = text.iter().copied().chain(std::iter::repeat(self.pad)).take(length);
            // Positions count what is not padding, on from the padding's own, as fairseq began it.
            let mut place = self.pad;
            for (at, id) in padded.enumerate() {
                place += u32::from(id != self.pad);
                ids.push(id);
                places.push(if id == self.pad { self.pad } else { place });
                mask.push(if at < text.len() { 0.0_f32 } else { f32::MIN });
            }
        }
        let device = &Device::Cpu;
        let rows = count * length;
        let words = self.words.index_select(&Tensor::from_vec(ids, rows, device)?, 0)?;
        let positions = self.positions.index_select(&Tensor::from_vec(places, rows, device)?, 0)?;
        let mask = Tensor::from_vec(mask, (count, 1, 1, length), device)?;
        let mut state = self.norm.apply(&(words + positions)?.broadcast_add(&self.kind)?)?;
        for layer in &self.layers {
            state = layer.apply(&state, &mask, self.heads)?;
        }
        let first = state.reshape((count, length, ()))?.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?;
        let logits = self.out.apply(&self.dense.apply(&first)?.tanh()?)?;
        debug_assert_eq!((logits.dtype(), logits.dim(D::Minus1)?), (DType::F32, logits.dim(1)?));
        logits.to_vec2()
    }
}
