//! From text to a model's token ids.

use std::path::Path;

use tokenizers::{
    AddedToken, Tokenizer, TruncationParams, models::bpe::BPE, pre_tokenizers::byte_level::ByteLevel,
    processors::roberta::RobertaProcessing,
};

use super::{super::beginning, ModelError, settings::Settings, tweet};

/// A model's tokenizer.
pub(super) struct Tokens(Tokenizer);

impl Tokens {
    /// Reads `tokenizer.json`, else `vocab.json` and `merges.txt`.
    pub fn read(directory: &Path, settings: &Settings) -> Result<Self, ModelError> {
        let whole = directory.join("tokenizer.json");
        let vocab = directory.join("vocab.json");
        let (path, read) = match whole.is_file() {
            true => (whole.clone(), Tokenizer::from_file(&whole).map_err(|error| error.to_string())),
            false => (vocab.clone(), of_vocabulary(&vocab, &directory.join("merges.txt"))),
        };
        let fail = |message: String| ModelError::File { path: path.clone(), message };
        let mut tokenizer = read.map_err(fail)?;
        let highest = tokenizer.get_vocab(true).into_values().max().unwrap_or(u32::MAX);
        if highest as usize >= settings.vocab_size {
            let message = format!("has a token {highest}, and config.json says vocab_size {}", settings.vocab_size);
            return Err(fail(message));
        }
        let bounds = TruncationParams { max_length: settings.max_tokens(), ..TruncationParams::default() };
        tokenizer.with_truncation(Some(bounds)).map_err(|error| fail(error.to_string()))?;
        tokenizer.with_padding(None);
        Ok(Tokens(tokenizer))
    }

    /// The ids of a text, with both ends, cut to what the model takes in.
    pub fn of(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let prepared = tweet::prepare(beginning(text));
        let encoded = self.0.encode_fast(prepared, true).map_err(|error| ModelError::Compute(error.to_string()))?;
        Ok(encoded.get_ids().to_vec())
    }
}

/// RoBERTa's tokenizer from the two files of its slow form, as `transformers` converts it.
fn of_vocabulary(vocab: &Path, merges: &Path) -> Result<Tokenizer, String> {
    let model = BPE::from_file(&vocab.to_string_lossy(), &merges.to_string_lossy())
        .build()
        .map_err(|error| format!("with {}: {error}", merges.display()))?;
    let mut tokenizer = Tokenizer::new(model);
    let id = |token: &str| tokenizer.token_to_id(token).ok_or_else(|| format!("has no token {token}"));
    let (start, end) = (id("<s>")?, id("</s>")?);
    let ends = RobertaProcessing::new(("</s>".to_owned(), end), ("<s>".to_owned(), start)).add_prefix_space(false);
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    tokenizer.with_post_processor(Some(ends));
    let special = |token: &str| AddedToken::from(token, true);
    let mut specials = ["<s>", "<pad>", "</s>", "<unk>"].map(special).to_vec();
    specials.push(special("<mask>").lstrip(true));
    tokenizer.add_special_tokens(specials).map_err(|error| error.to_string())?;
    Ok(tokenizer)
}
