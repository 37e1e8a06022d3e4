//! Grammars by llguidance: what an answer may be (a JSON schema, a regular expression, a Lark grammar), as the set of
//! tokens that may come next.

use std::ffi::c_void;
use std::sync::Arc;

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::{Matcher, ParserFactory};
use serde_json::Value;
use toktrie::{InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

/// The caller's tokenizer: writes at most `room` ids and returns how many there are.
pub type Encode = extern "C" fn(context: *const c_void, text: *const u8, size: usize, ids: *mut u32, room: usize) -> usize;

/// Bounds on what a stranger's grammar may cost. All count work, not time, so that they hit the same requests everywhere.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct GrammarLimits {
    /// Symbols of the grammar once it is compiled.
    symbols: u64,
    /// States of its lexer, over a whole answer.
    states: u64,
    /// Work of compiling it; about 50,000 in a millisecond.
    compile_work: u64,
    /// Work of one token's mask; about 14,000 in a millisecond.
    mask_work: u64,
    /// Nested values and groups of its text.
    depth: u64,
}

struct Tokens {
    trie: TokTrie,
    context: *const c_void,
    encode: Encode,
}

// The caller promises a tokenizer that any thread may use.
unsafe impl Send for Tokens {}
unsafe impl Sync for Tokens {}

impl Tokens {
    fn encode_text(&self, text: &str) -> Vec<TokenId> {
        // A token stands for at least one byte, but a byte may become several tokens; rarely more than this.
        let mut ids = vec![0u32; text.len() * 4 + 8];
        let count = (self.encode)(self.context, text.as_ptr(), text.len(), ids.as_mut_ptr(), ids.len());
        if count > ids.len() {
            return self.trie.greedy_tokenize(text.as_bytes());
        }
        ids.truncate(count);
        ids
    }
}

impl TokenizerEnv for Tokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }
    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| self.encode_text(text))
    }
}

/// A vocabulary in the form that masks are made from.
pub struct Vocabulary {
    factory: ParserFactory,
}

impl Vocabulary {
    /// `table`: of each id in order its kind (1 byte: 0 ordinary, 1 added, 2 special), the length of its bytes (4 bytes)
    /// and its bytes. Behind the last id comes one of our own, which says that the text may end.
    pub fn new(table: &[u8], context: *const c_void, encode: Encode) -> Result<Vocabulary, String> {
        let mut words: Vec<Vec<u8>> = Vec::new();
        let mut rest = table;
        while rest.len() >= 5 {
            let size = u32::from_ne_bytes([rest[1], rest[2], rest[3], rest[4]]) as usize;
            let bytes = rest.get(5..5 + size).ok_or("the table of tokens is cut off")?;
            let mut word = Vec::with_capacity(size + 1);
            if rest[0] == 2 && size > 0 {
                word.push(TokTrie::SPECIAL_TOKEN_MARKER);
            }
            word.extend_from_slice(bytes);
            words.push(word);
            rest = &rest[5 + size..];
        }
        let end = words.len() as u32;
        words.push(b"\xff<|end of the grammar|>".to_vec());
        let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, end), &words);
        let env: TokEnv = Arc::new(Tokens { trie, context, encode });
        let mut factory = ParserFactory::new(
            &env,
            InferenceCapabilities { ff_tokens: true, ..Default::default() },
            &llguidance::earley::SlicedBiasComputer::general_slices(),
        )
        .map_err(|e| e.to_string())?;
        factory.quiet();
        Ok(Vocabulary { factory })
    }

    fn words(&self) -> usize {
        self.factory.tok_env().tok_trie().vocab_size().div_ceil(32)
    }
}

/// One sentence of what llguidance says over many lines.
fn sentence(error: &str) -> String {
    let line = error.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or("it cannot be compiled");
    line.chars().take(300).collect()
}

/// How deep values of a JSON text nest.
fn json_depth(value: &Value, most: u64) -> u64 {
    if most == 0 {
        return 1;
    }
    let below = match value {
        Value::Array(list) => list.iter().map(|v| json_depth(v, most - 1)).max(),
        Value::Object(map) => map.values().map(|v| json_depth(v, most - 1)).max(),
        _ => None,
    };
    1 + below.unwrap_or(0)
}

/// How many ways a schema is split in: branches of anyOf and oneOf, and lists of types. Each "#/..." is followed once.
fn branches(value: &Value, root: &Value, seen: &mut Vec<String>) -> u64 {
    let map = match value {
        Value::Array(list) => return list.iter().map(|v| branches(v, root, seen)).fold(0, u64::saturating_add),
        Value::Object(map) => map,
        _ => return 0,
    };
    let mut sum = 0u64;
    for (key, below) in map {
        if let (true, Value::Array(list)) = (key == "anyOf" || key == "oneOf" || key == "type", below) {
            sum = sum.saturating_add(list.len() as u64);
        }
        if let ("$ref", Value::String(path)) = (key.as_str(), below) {
            if !seen.contains(path) {
                seen.push(path.clone());
                if let Some(meant) = path.strip_prefix('#').and_then(|p| root.pointer(p)) {
                    sum = sum.saturating_add(branches(meant, root, seen));
                }
            }
        }
        sum = sum.saturating_add(branches(below, root, seen));
    }
    sum
}

/// Meeting the parts of an allOf tries each branch of one with each of the others: that number, of the worst allOf.
fn combinations(value: &Value, root: &Value) -> u64 {
    let below: Vec<&Value> = match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => return 1,
    };
    let mut most = below.iter().map(|v| combinations(v, root)).max().unwrap_or(1);
    if let Some(Value::Array(parts)) = value.get("allOf") {
        let mut product = 1u64;
        for part in parts {
            product = product.saturating_mul(1 + branches(part, root, &mut Vec::new()));
        }
        for (key, beside) in value.as_object().into_iter().flatten() {
            if key != "allOf" && !key.starts_with('$') && key != "definitions" {
                let mut alone = serde_json::Map::new();
                alone.insert(key.clone(), beside.clone());
                product = product.saturating_mul(1 + branches(&Value::Object(alone), root, &mut Vec::new()));
            }
        }
        most = most.max(product);
    }
    most
}

/// How deep the groups of a regular expression or grammar nest, escapes and strings not told apart.
fn group_depth(text: &str) -> u64 {
    let (mut depth, mut deepest) = (0i64, 0i64);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = (depth - 1).max(0),
            _ => continue,
        }
        deepest = deepest.max(depth);
    }
    deepest as u64
}

/// Between the parts of JSON: nothing, a space, or a new line with its indentation. Without bounds a model that is at a
/// loss writes spaces for ever.
const WHITESPACE: &str = r"\x20|\n[\x20\t]{0,40}";

const MOST_COMBINATIONS: u64 = 20_000;

fn json_grammar(text: &str, limits: &GrammarLimits) -> Result<TopLevelGrammar, String> {
    let mut schema: Value = serde_json::from_str(text).map_err(|e| format!("it is no JSON: {e}"))?;
    if json_depth(&schema, limits.depth) > limits.depth {
        return Err(format!("it is nested deeper than {} levels", limits.depth));
    }
    if combinations(&schema, &schema) > MOST_COMBINATIONS {
        return Err(format!("its allOf has more than {MOST_COMBINATIONS} combinations of alternatives"));
    }
    if schema == Value::Bool(true) {
        schema = Value::Object(Default::default());
    }
    if let Value::Object(map) = &mut schema {
        // "additionalProperties" and so on are a schema's own; options of the library are not a caller's.
        map.insert("x-guidance".into(), serde_json::json!({ "whitespace_pattern": WHITESPACE }));
    }
    Ok(TopLevelGrammar::from_json_schema(schema))
}

/// Runs `work` where its recursion cannot end the process: the library follows rules and "$ref"s one within another, 7 kB
/// of stack each, and a text of so many bytes names one in every 20 at most.
#[cfg(not(target_family = "wasm"))]
fn on_deep_stack<T>(bytes: usize, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    struct Crossing<T>(T);
    // Whoever asks waits, so that nothing is used by two threads at once.
    unsafe impl<T> Send for Crossing<T> {}
    impl<T> Crossing<T> {
        fn take(self) -> T {
            self.0
        }
    }
    const SMALL: usize = 1 << 20; // bytes of stack
    const PER_BYTE: usize = 1024; // of text; 7 kB / 20 bytes, and as much again and more
    let work = Crossing(work);
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(SMALL + bytes.saturating_mul(PER_BYTE))
            .spawn_scoped(scope, move || Crossing(work.take()()))
            .map_err(|e| format!("no thread could be started for it: {e}"))?
            .join()
            .map_err(|_| "it cannot be compiled".to_string())?
            .take()
    })
}

/// On wasm the stack is the program's.
#[cfg(target_family = "wasm")]
fn on_deep_stack<T>(_bytes: usize, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    work()
}

/// A grammar and how far a text has come in it.
pub struct GrammarMatcher {
    matcher: Matcher,
    words: usize,
}

impl GrammarMatcher {
    /// `kind`: 0 a JSON schema, 1 a regular expression, 2 a Lark grammar.
    pub fn new(vocabulary: &Vocabulary, kind: u8, text: &[u8], limits: &GrammarLimits) -> Result<GrammarMatcher, String> {
        on_deep_stack(text.len(), || Self::compile(vocabulary, kind, text, limits))
    }

    fn compile(vocabulary: &Vocabulary, kind: u8, text: &[u8], limits: &GrammarLimits) -> Result<GrammarMatcher, String> {
        let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_string())?;
        if kind != 0 && group_depth(text) > limits.depth * 4 {
            return Err(format!("its groups are nested deeper than {} levels", limits.depth * 4));
        }
        let grammar = match kind {
            0 => json_grammar(text, limits)?,
            1 => TopLevelGrammar::from_regex(text),
            _ => TopLevelGrammar::from_lark(text.to_string()),
        };
        let limits = ParserLimits {
            initial_lexer_fuel: limits.compile_work,
            step_lexer_fuel: limits.mask_work,
            max_lexer_states: limits.states as usize,
            max_grammar_size: limits.symbols as usize,
            verbose_errors: false,
            ..Default::default()
        };
        let factory = &vocabulary.factory;
        let parser = factory.create_parser_from_init_ext(
            llguidance::api::GrammarInit::Serialized(grammar),
            llguidance::Logger::new(0, 0),
            InferenceCapabilities { ff_tokens: true, ..Default::default() },
            limits,
        );
        let mut matcher = Matcher::new(parser);
        if let Some(error) = matcher.get_error() {
            return Err(sentence(&error));
        }
        let mut result = GrammarMatcher { matcher: matcher.deep_clone(), words: vocabulary.words() };
        // A grammar that nothing matches is a caller's mistake too.
        if matcher.compute_mask().map_err(|e| sentence(&e.to_string()))?.is_zero() {
            return Err("no text matches it".into());
        }
        result.check()?;
        Ok(result)
    }

    fn check(&mut self) -> Result<(), String> {
        self.matcher.get_error().map_or(Ok(()), |e| Err(sentence(&e)))
    }

    /// An independent copy, as far as this one has come.
    pub fn fork(&self) -> GrammarMatcher {
        GrammarMatcher { matcher: self.matcher.deep_clone(), words: self.words }
    }

    /// The set of tokens that may come next, a bit each, our own end token's among them.
    pub fn mask(&mut self, out: &mut [u32]) -> Result<(), String> {
        let mask: SimpleVob = self.matcher.compute_mask_or_eos().map_err(|e| sentence(&e.to_string()))?;
        let given = mask.as_slice();
        if out.len() != self.words || given.len() < out.len() {
            return Err("a mask of another size".into());
        }
        out.copy_from_slice(&given[..out.len()]);
        Ok(())
    }

    pub fn accept(&mut self, ids: &[u32]) -> Result<(), String> {
        self.matcher.consume_tokens(ids).map_err(|e| sentence(&e.to_string()))
    }

    /// How many of the tokens, the first ones, may come next in this order.
    pub fn valid(&mut self, ids: &[u32]) -> Result<usize, String> {
        self.matcher.validate_tokens(ids).map_err(|e| sentence(&e.to_string()))
    }

    /// The tokens that must come next, as the tokenizer writes that text.
    pub fn forced(&mut self) -> Result<Vec<u32>, String> {
        if self.matcher.is_stopped() {
            return Ok(Vec::new());
        }
        let ids = self.matcher.compute_ff_tokens();
        self.check()?;
        Ok(ids)
    }

    /// Whether the text is complete and nothing can be added to it.
    pub fn stopped(&self) -> bool {
        self.matcher.is_stopped()
    }
}
