"""Makes a RoBERTa classifier with random weights in the layout of the Hugging Face hub.

    python3 model.py FOLDER             small (about 170 kB), and what transformers and PyTorch say of it: vectors.json
    python3 model.py FOLDER --judge     the same for a model that is there: JSON to stdout
    python3 model.py FOLDER --base      of RoBERTa-base's shape (125 million numbers), to measure speed with

Needs torch, transformers and tokenizers; --base only numpy. Made with torch 1.13.1, transformers 4.40.2.
"""
import json, os, struct, sys

TEXTS = [
    "good", "I love this shop!", "Worst service ever. Never again.", "The parcel came at noon.", "", " ", "a\nb\tc",
    "@ann and @bob: see https://a.example/x?y=1 now", "@ alone, user@example, HTTP http", "Ünïcödé naïve café — “quotes” …",
    "😀😡 👍🏽 ❤️ 🏳️‍🌈", "مرحبا بالعالم هذا جيد", "שלום עולם", "日本語のテキスト", "\u202eright to left\u202c", "null \u0000 bytes \u0000\u0000",
    "<s> </s> <pad> <mask> <unk>", "it's don't we'll I'm 1234567890 !!!???", "x" * 300, "the cat sat on the mat and " * 12,
    "good bad " * 300, "  two  blanks  ", "tab\tand\u00a0no-break", "\u0301combining e\u0301",
]


def prepare(text):
    """As the card of cardiffnlp/twitter-roberta-base-sentiment."""
    words = ["@user" if word.startswith("@") and len(word) > 1 else word for word in text.split(" ")]
    return " ".join("http" if word.startswith("http") else word for word in words)


def small(folder):
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaForSequenceClassification, RobertaTokenizerFast
    tokenizer = ByteLevelBPETokenizer()
    corpus = ["the cat sat on the mat, and the dog was not good; it is a good day for a user of http links, I love it, never bad"] * 9
    tokenizer.train_from_iterator(corpus, vocab_size=300, min_frequency=2, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    os.makedirs(folder, exist_ok=True)
    tokenizer.save_model(folder)
    torch.manual_seed(4)
    config = RobertaConfig(
        vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, max_position_embeddings=514,
        type_vocab_size=1, layer_norm_eps=1e-5, num_labels=3, initializer_range=0.4, architectures=["RobertaForSequenceClassification"])
    model = RobertaForSequenceClassification(config).eval()
    with torch.no_grad():  # so that biases and norms matter too
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder, safe_serialization=True)
    RobertaTokenizerFast.from_pretrained(folder, model_max_length=512).save_pretrained(folder)
    for name in ["special_tokens_map.json", "tokenizer_config.json"]:
        os.remove(os.path.join(folder, name))
    with open(os.path.join(folder, "vectors.json"), "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(said) for said in judge(folder)) + "\n]\n")


def judge(folder):
    import torch
    from transformers import RobertaForSequenceClassification, RobertaTokenizerFast
    tokenizer = RobertaTokenizerFast(os.path.join(folder, "vocab.json"), os.path.join(folder, "merges.txt"), model_max_length=512)
    model = RobertaForSequenceClassification.from_pretrained(folder).eval()
    said = []
    for text in TEXTS:
        encoded = tokenizer(prepare(text), truncation=True, max_length=512, return_tensors="pt")
        with torch.no_grad():
            logits = model(**encoded).logits[0]
        said.append({"text": text, "ids": encoded["input_ids"][0].tolist(), "logits": [round(x, 6) for x in logits.tolist()]})
    return said


def base(folder):
    import numpy
    os.makedirs(folder, exist_ok=True)
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "roberta")
    for name in ["vocab.json", "merges.txt", "tokenizer.json"]:
        with open(os.path.join(here, name), "rb") as source, open(os.path.join(folder, name), "wb") as target:
            target.write(source.read())
    config = json.load(open(os.path.join(here, "config.json")))
    hidden, wide, layers, words = 768, 3072, 12, 50265
    config.update(hidden_size=hidden, intermediate_size=wide, num_hidden_layers=layers, num_attention_heads=12, vocab_size=words)
    json.dump(config, open(os.path.join(folder, "config.json"), "w"))
    shapes = {"roberta.embeddings.word_embeddings.weight": (words, hidden), "roberta.embeddings.position_embeddings.weight": (514, hidden),
              "roberta.embeddings.token_type_embeddings.weight": (1, hidden), "roberta.embeddings.LayerNorm": (hidden,)}
    for layer in range(layers):
        for name, shape in [("attention.self.query", (hidden, hidden)), ("attention.self.key", (hidden, hidden)), ("attention.self.value", (hidden, hidden)),
                            ("attention.output.dense", (hidden, hidden)), ("attention.output.LayerNorm", (hidden,)), ("intermediate.dense", (wide, hidden)),
                            ("output.dense", (hidden, wide)), ("output.LayerNorm", (hidden,))]:
            shapes["roberta.encoder.layer.%d.%s" % (layer, name)] = shape
    shapes["classifier.dense"], shapes["classifier.out_proj"] = (hidden, hidden), (3, hidden)
    random, header, data = numpy.random.default_rng(4), {}, []

    def put(name, values):
        start = sum(len(part) for part in data)
        data.append(values.astype("<f4").tobytes())
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [start, start + len(data[-1])]}

    for name, shape in shapes.items():
        if name.endswith(".weight"):
            put(name, random.standard_normal(shape, dtype="f4") * 0.02)
        else:
            put(name + ".weight", numpy.ones(shape) if name.endswith("LayerNorm") else random.standard_normal(shape, dtype="f4") * 0.02)
            put(name + ".bias", numpy.zeros(shape[0]))
    text = json.dumps(header).encode()
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(data)


if __name__ == "__main__":
    if "--judge" in sys.argv:
        print(json.dumps(judge(sys.argv[1])))
    elif "--base" in sys.argv:
        base(sys.argv[1])
    else:
        small(sys.argv[1])
