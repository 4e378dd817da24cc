"""Texts with the ids and pieces of the real vocabulary, by the tokenizers library in Python.

Reads target/gemma-tokenizer/tokenizer.json, which `cargo xtask gemma-tokenizer` makes and which is
no part of this project, and writes tokenizer/golden.json into the folder given.
"""

import json
import pathlib
import sys

from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXTS = [
    "caption en\n",
    "detect cat ; dog\n",
    "answer en 图中是什么？\n",
    "segment tiger\n",
    "caption es\n",
    "<loc0123><loc0456><loc0789><loc1023> cat ; <loc0000> dog",
    "<seg000><seg127> x",
    "answer de Wie heißt das Tier? 🐯\n",
    "answer ja これは何ですか\n",
    "answer ar ما هذا؟\n",
    "ocr\n",
    "two  spaces   three",
    "tab\there",
    "a\n\nb\n\n\nc",
    "<h1>title</h1><table>",
    "ıİß ﬁ ½ é e\u0301",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 family",
    "1234567 3.14",
    "    indent",
    "caption en<eos>",
    "<image><bos>caption en\n",
    " leading space",
    "trailing space ",
    "▁▁lit",
    "\u0000\u0001ctrl",
    "\r\ncrlf",
]


def main():
    tokenizer = Tokenizer.from_file(str(ROOT / "target/gemma-tokenizer/tokenizer.json"))
    cases = []
    for text in TEXTS:
        encoded = tokenizer.encode(text, add_special_tokens=False)
        decoded = tokenizer.decode(encoded.ids, skip_special_tokens=False)
        cases.append(
            {"text": text, "ids": encoded.ids, "tokens": encoded.tokens, "decoded": decoded}
        )
    out = pathlib.Path(sys.argv[1]) / "tokenizer"
    out.mkdir(exist_ok=True)
    text = json.dumps(cases, ensure_ascii=False, indent=1) + "\n"
    (out / "golden.json").write_text(text, encoding="utf-8")


main()
