//! A Hugging Face tokenizer loaded from the text of a tokenizer.json.

use serde_json::{json, Value};
use tokenizers::models::bpe::BPE;
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer, TokenizerImpl,
};

/// What most files hold. `Tokenizer` itself reads a model of any kind through a tree of JSON values; reading this kind
/// straight from the text makes a vocabulary of 49,152 tokens a third sooner ready.
type BpeTokenizer =
    TokenizerImpl<BPE, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

pub struct TextTokenizer {
    inner: Tokenizer,
}

/// One token in the words of a tokenizer.json; an absent flag is false.
fn added_token(token: &Value) -> AddedToken {
    let flag = |name: &str| token[name].as_bool().unwrap_or(false);
    AddedToken::from(token["content"].as_str().unwrap_or(""), flag("special"))
        .lstrip(flag("lstrip"))
        .rstrip(flag("rstrip"))
        .single_word(flag("single_word"))
        .normalized(flag("normalized"))
}

impl TextTokenizer {
    /// Truncation and padding settings of the file are dropped: prompts are encoded whole.
    pub fn from_json(json: &[u8]) -> Result<TextTokenizer, String> {
        let mut inner = match serde_json::from_slice::<BpeTokenizer>(json) {
            Ok(bpe) => Tokenizer::from(bpe),
            Err(_) => Tokenizer::from_bytes(json).map_err(|e| format!("not a usable tokenizer: {e}"))?,
        };
        inner.with_truncation(None).map_err(|e| e.to_string())?;
        inner.with_padding(None);
        Ok(TextTokenizer { inner })
    }

    /// Adds the tokens of a JSON list in its order: text that is a token keeps its id and takes the flags, other text gets
    /// the next id.
    pub fn add(&mut self, tokens: &[u8]) -> Result<(), String> {
        let list: Vec<Value> = serde_json::from_slice(tokens).map_err(|e| format!("cannot add tokens: {e}"))?;
        let tokens: Vec<AddedToken> = list.iter().map(added_token).collect();
        self.inner.add_tokens(&tokens);
        Ok(())
    }

    /// The added tokens in id order, as the `added_tokens` of a tokenizer.json.
    pub fn added(&self) -> Result<Vec<u8>, String> {
        let mut list: Vec<(u32, AddedToken)> = self.inner.get_added_tokens_decoder().into_iter().collect();
        list.sort_by_key(|(id, _)| *id);
        let list: Vec<Value> = list
            .iter()
            .map(|(id, t)| {
                json!({"id": id, "content": t.content, "single_word": t.single_word, "lstrip": t.lstrip,
                       "rstrip": t.rstrip, "normalized": t.normalized, "special": t.special})
            })
            .collect();
        serde_json::to_vec(&list).map_err(|e| e.to_string())
    }

    /// Ids, with what the post-processor adds around them (BOS, [CLS], [SEP]) where `special`. Bytes that are not UTF-8 are
    /// read as U+FFFD.
    pub fn encode(&self, text: &[u8], special: bool) -> Result<Vec<u32>, String> {
        let text = String::from_utf8_lossy(text);
        let encoding = self.inner.encode_fast(text, special).map_err(|e| format!("cannot encode: {e}"))?;
        Ok(encoding.get_ids().to_vec())
    }

    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, String> {
        self.inner.decode(ids, skip_special).map_err(|e| format!("cannot decode: {e}"))
    }

    /// Every token in id order: id (4 bytes), kind (1 byte: 0 ordinary, 1 added, 2 special), length (4 bytes), text.
    pub fn tokens(&self) -> Vec<u8> {
        let added = self.inner.get_added_tokens_decoder();
        let mut tokens: Vec<(u32, String)> = self.inner.get_vocab(true).into_iter().map(|(t, id)| (id, t)).collect();
        tokens.sort();
        let mut out = Vec::new();
        for (id, text) in &tokens {
            let kind = added.get(id).map_or(0, |t| if t.special { 2 } else { 1 });
            out.extend_from_slice(&id.to_ne_bytes());
            out.push(kind);
            out.extend_from_slice(&(text.len() as u32).to_ne_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out
    }
}
