#!/usr/bin/env python3
"""Scores of made-up answers, captions, masks and boxes by the public implementations.

usage: make_metrics.py OUTDIR

The captions' tokenizer is a Java program, so a `java` must be there. Two references are no packages:
the VQA challenge's and big_vision's files are downloaded at fixed commits and checked by their hashes,
or taken from the folder in the environment variable GOLDEN_SOURCES. It writes, under metrics/,

  answers.json    exact, VQA, ANLS and relaxed accuracy, and processed answers
  captions.json   words of texts, BLEU and CIDEr
  masks.json      overlaps of masks and of boxes
  detections.json COCO's twelve numbers
  classes.json    accuracy and confusion matrix
"""

import ast
import contextlib
import copy
import hashlib
import io
import json
import os
import random
import re
import sys
import urllib.request

import numpy as np
from anls import anls_score
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn.metrics import accuracy_score, confusion_matrix

RAW = "https://raw.githubusercontent.com"
VQA = (
    f"{RAW}/GT-Vision-Lab/VQA/a013f0043c1e2cdc995922dfe257f7149aa9af06/"
    "PythonEvaluationTools/vqaEvaluation/vqaEval.py",
    "f08edfcad5be0112500993e245c706b6cb928eadebe203f89f838e5e0d04bec8")
CHARTQA = (
    f"{RAW}/google-research/big_vision/0127fb6b337ee2a27bf4e54dea79cff176527356/"
    "big_vision/evaluators/proj/paligemma/transfers/chartqa.py",
    "d813d1b57a4fe479a1a4eceb51c5abd1adc163e0a4e85e0a33c5d6033f2611db")


def source(url, sha256):
    """A reference's text, which is used here and not kept."""
    folder = os.environ.get("GOLDEN_SOURCES")
    if folder:
        with open(os.path.join(folder, os.path.basename(url)), "rb") as file:
            text = file.read()
    else:
        with urllib.request.urlopen(url) as answer:
            text = answer.read()
    assert hashlib.sha256(text).hexdigest() == sha256, f"{url} has changed"
    return text.decode()


def vqa_evaluation():
    """The challenge's class, whose prints are those of Python 2."""
    text = re.sub(r'print ("[^"]*")', r"print(\1)", source(*VQA))
    space = {}
    exec(compile(text, "vqaEval.py", "exec"), space)
    return space["VQAEval"]


def relaxed_match():
    """big_vision's function, without what its file imports."""
    tree = ast.parse(source(*CHARTQA))
    wanted = ("_to_float", "_relaxed_match")
    tree.body = [node for node in tree.body
                 if isinstance(node, ast.FunctionDef) and node.name in wanted]
    space = {}
    exec(compile(tree, "chartqa.py", "exec"), space)
    return space["_relaxed_match"]


ANSWERS = [
    "yes", "no", "Yes", "two", "2", "none", "0", "a dog", "the dog", "dog", "The Dog.", "red/blue",
    "red, blue", "red and blue", "dont know", "don't know", "1,000", "1000", "1,000 people!", "3.5",
    ".5", "5.", "$5", "50%", "it's", "its", "t-shirt", "t shirt", "T-Shirt", "", " ", "hello  world",
    "hello world", "a\tb", "a\nb", "10:30", "10 30", "@home", "c++", "somebody'd", "Im here",
    "theyre", "they're", "she's", "'ow's at", "ow's'at", "a an the", "an", "U.S.A.", "usa", "U.S.A",
    "...", "." * 40 + "x", "x" + "." * 33, "1.2.3", "word.word", "stop.", "what?!", "(left)", "[1]",
    "naïve café", "NAÏVE CAFÉ", "straße", "STRASSE", "日本", "日 本", "٣", "٣,٤", "Ｙes", "İstanbul",
    "ΟΔΟΣ", "no\u00a0no", "no\u2003no", "x\x1cy", "emoji 😀", "_a_", "a_b", "-5", "+5", "back\\slash",
    "one two three", "ten", "eleven", "half-way", "; semi", "semi ;", "a;b", "{x}", "=", "<b>",
]
NUMBERS = [
    "0", "0.0", "1", "100", "105", "105.1", "95", "94.9", "-10", "-10.5", "-9.4", "5%", "0.05", "5.2%",
    "0.0526", "5%%", "%", "1e3", "1000", "1,000", "1_000", "_1", "1__0", " 12 ", "12", "+12", "12.6",
    "12.61", ".5", "5.", "inf", "-inf", "Infinity", "nan", "NaN", "", "Blue", "blue", "BLUE ", "2019",
    "2020", "0x10", "1e", "e5", "١٢", "ten", "10 km", "10km", "1/2", "0.001", "0.00104", "0.00106",
]


def near(random_, answer):
    """An answer of a few other letters."""
    letters = list(answer)
    for _ in range(random_.randrange(4)):
        place = random_.randrange(len(letters) + 1)
        change = random_.choice(["cut", "put", "swap"])
        if change == "put" or not letters:
            letters.insert(place, random_.choice("abe é.'2ß"))
        elif change == "cut":
            letters.pop(min(place, len(letters) - 1))
        else:
            letters[min(place, len(letters) - 1)] = random_.choice("abe é.'2ß")
    return "".join(letters)


def vqa_scores(evaluation, cases):
    class Answers:
        def __init__(self, qa):
            self.qa = qa

        def getQuesIds(self):
            return list(self.qa)

    truth = {
        at: {"answers": [{"answer": text, "answer_id": n} for n, text in enumerate(references)],
             "question_type": "q", "answer_type": "a"}
        for at, (_, references) in enumerate(cases)}
    given = {at: {"answer": prediction} for at, (prediction, _) in enumerate(cases)}
    evaluator = evaluation(Answers(truth), Answers(given), n=12)
    evaluator.evaluate()
    return [evaluator.evalQA[at] / 100 for at in range(len(cases))]


def answers():
    random_ = random.Random(1)
    evaluation, relaxed = vqa_evaluation(), relaxed_match()
    processing = evaluation(type("None", (), {"getQuesIds": lambda self: []})(), None)
    process = lambda text: processing.processDigitArticle(processing.processPunctuation(text))
    cases = []
    for _ in range(250):
        base = random_.sample(ANSWERS, random_.randint(1, 4))
        references = [near(random_, random_.choice(base)) if random_.random() < 0.2
                      else random_.choice(base) for _ in range(random_.choice([4, 10, 10, 10]))]
        prediction = random_.choice(base + [random_.choice(ANSWERS), near(random_, base[0])])
        cases.append((prediction, references))
    cases += [(answer, [answer] * 10) for answer in ANSWERS[::7]]
    scores = vqa_scores(evaluation, cases)
    texts = [{
        "prediction": prediction, "references": references, "vqa": score,
        "anls": anls_score(prediction, references)}
        for (prediction, references), score in zip(cases, scores)]
    words = sorted(set(ANSWERS + [near(random_, random_.choice(ANSWERS)) for _ in range(150)]))
    # Digits of other scripts are numbers in Python and text here.
    numbers = [text for text in NUMBERS if not text or text.isascii()]
    pairs = [(a, b) for a in numbers for b in numbers if random_.random() < 0.25 or a == b]
    return {
        "texts": texts,
        "processed": [[text, process(text)] for text in words],
        "relaxed": [[a, b, bool(relaxed(b.lower(), a.lower()))] for a, b in pairs],
    }


# Texts that the tokenizer has rules of its own for.
TRICKY = r'''
A man is riding a horse.
He's the boss, isn't he? I can't won't don't. Cannot gonna gotta wanna lemme gimme d'ye 'tis 'twas
(parens) [brackets] {braces} <angle> "double" 'single' ``ticks''
It costs $5.99, €20, £3 or 50% off... 1,000,000 pounds #1 @home & AT&T R&D &amp; &lt;b&gt; &quot;
U.S. U.S.A. Dr. Smith, Mr. Jones, Mrs. x, etc. e.g. i.e. a.m. p.m. Jan. Inc. Co. vs. St. No. 5
well-known state-of-the-art x-ray -- dash – en — em - minus 5-6 -5 +3 10:30 3:4 1/2 3/4 ½ ¼ 2-1/2 and/or
http://www.example.com/foo?x=1 www.foo.com foo@bar.com example.org :) :-( ;) :D <3 #hashtag @user
colour grey favourite centre theatre organise realise travelling programme cheque aluminium aeroplane jewellery neighbour
naïve café über 日本語 の テスト Привет мир “curly” ‘single’ it’s don’t … ‥ « quote » ™ ® © ° × ÷ € ¢
the end of sentence U.S.
the end of sentence U.S. He went. Bob Jr. etc.
word.Another word,another word;another word:another word?another word!another
a+b=c x*y a/b a\b a_b __init__ a|b ~tilde ^caret
don't'll they'll we've I'd she'd've y'all o'clock rock'n'roll ma'am dogs' '90s 1990s 1990's 'em
can't cant cannot CANNOT Cannot cannots gonna Gonna gotta wanna lemme gimme gimmie whaddya wha'cha d'you more'n 'twas 'tis it'll
I'm I'M you're they've he'd she'll who's dog's dogs' dog'll John's's
ain't AIN'T aren't couldn't mustn't've n't don't-care n'ts
y'all o'clock ma'am rock'n'roll rock-n-roll rock 'n' roll 'n fish'n'chips d'oh ol' o' th' e'er
'hello' 'hello 'em 'til 'cause 'bout 'round '80s '80's '80 '5
"quoted" "quoted text" 'single quoted text' ''double'' ``back`` `x' "
5'4" 6' 6'2 5" 10" 3'x4'
don’t it’s dogs’ ‘hello’ ’tis
a/b and/or 1/2 9/11 1/2/2010 w/ w/o n/a http://a.b/c 12/25/99
1.5 1,000 1,000.50 .5 5. 5.5.5 10,00 1,2,3 3.14159 -5 +5 -5.5 +1,000 1000,000 ,5
10:30 10:30am 10am 5pm 5p.m. 5:00 p.m. 5k 100k 1st 2nd 3rd 21st 20th 2x4 3d 50mm 10x
$5 $5.00 $ 5 US$5 US$ A$5 C$ $100,000 5$ 5¢ 5c €5 £5 ¥500 5€ $-5 -$5
50% 50 % %50 5.5% 100%.
a.m. A.M. p.m. P.M. am. pm. a.m p.m
U.S. U.S U.S.A. U.K. u.s. u.k. D.C. N.Y. L.A. e.g. i.e. e.g., i.e., eg. ie. Ph.D. M.D. B.A. a.k.a. r.i.p.
J. K. Rowling; J.K. Rowling; J.R.R. Tolkien A. B. x. y. I.
U.S. military U.S. Army the U.S. The end
etc. etc etc.. etc.) vs. vs v. cf. al. et al. fig. Fig. no. No. nos. 5 No. 5 no. 5 no. x
...  .. .... ..... . . . . . . a...b a..b a.b a. .a
( ) [ ] { } (a) (a)b a(b) a(b)c [x] {y} <z> < > << >> <br> <br/> </b> <b>x</b> <!-- c --> <3 >_< -> => <- <= >=
! !! !!! ? ?? ??? ?! !? !?! a!b a?b a! b? ! ? :: ; ;; , ,, a,b a, b ,a a ,b a;b a:b
: :a a: a::b 3:2 3: :3 a:5 5:a 10:30:45
& && &amp; &lt; &gt; &quot; &apos; &nbsp; &#39; a&b A&B AT&T R&B B&B b&b Q&A a & b M&M's m&ms
@ @a a@b a@b.com john.doe@example.co.uk # #a #1 a#b * ** *** a*b **a** ^ ^^ ~ ~~ ~a a~b _ __ ___ a_b _a a_ | || a|b \ \\ a\b / // /// a/ /b = == a=b + ++ a+b c++ C++ C# c# A+ B-
www.google.com google.com Google.com http://x.y https://x.y/z?q=1&r=2 ftp://x.y x.com/y foo.jpg foo.txt a.jpg IMG_1234.jpg file.html x.org yahoo.com! x.net, x.edu x.co.uk x.tv x.io x.info x.gov x.mil x.int x.de
:) :( :-) :-( ;) ;-) :D :-D :P :-P =) =( :/ :-/ :\ :o :O XD xD <3 </3 :* ^_^ -_- o_O T_T :'( (: ): (-: :| 8) 8-) B) :-* >:( >:) :] :[ :} :{ d: D: =D =P :3
'cause 'tis' 'n' 'em' 'twas' 'S 's 'S' s' it's' 'it's' ''s x''y x'' 'x 'dont 'Til 'TIL 'til' 'tils 'coz 'cuz 'gainst 'nother 'nuff 'yer
c'est l'amour d'Artagnan O'Brien o'brien D'Angelo s'mores y'know ne'er ma'am's o'clock's two o'clock rock'n'roll's
s'more ho'oponopono hawai'i ka'u x'y a'b ab'cd abc'def don'tx can'ty it'sy they'llx we'vex I'dx
1'2 1's 1'x a1's 60's '60s '60's '6 '60 60s 60's' 7'x8' 7'8 ft'
the dogs' bowls; the boss's dog; James' dog; James's
"a" "a"b a"b "" """ """" a"" ""a "'a'" '"a"' ` `` ``` ´ ´´ a`b a´b “a” ”a“ „a‟ ‹a› «a» ‚a‛ ′ ″
non-smoking e-mail t-shirt T-shirts x-Box 4-way 3-d 2-year-old 2-1 1-0 10-15 555-1234 555-555-1234 (555) 555-1234 1-800-555-1234 5-ft 12-inch a-1 a1-b2 -foo -5foo foo-5 foo--bar foo-_bar
black-and-white mother-in-law's up-to-date-ness jack-o'-lantern jack-o-lantern will-o'-the-wisp co-op. re-entry- anti-
St. Patrick's Dr. Seuss mr. mrs. ms. miss. sgt. ave. blvd. rd. hwy. apt. bldg. approx. min. max. vol. pp. p. ed. jr. sr. mt. ft. lbs. oz. in. cm. mm. kg.
hello.world hello.World Hello.World a.b.c a.b.c. ab.cd ab.cd.ef foo.bar.com foo.COM end.Start 3.x x.3 v2.0 v.2 2.0.1 .com .net .NET .foo foo. .foo
1/2 cup, 1 1/2 cups, 3-1/2, 1½, ½ ⅓ ⅔ ¼ ¾ ⅛ ⅜ 1⁄2 0/0 1/ /2 1/2/3 1 / 2 24/7 50/50
10:30pm 10.30 10.30am 7:00AM 7:00a.m. 11:59:59 1:1 a1:b2 1:a
émigré Zürich œuvre señor jalapeño's crème brûlée's naïve-looking Ægir ß straße İstanbul ΑΒΓ’ς 東京タワー 大きな犬。 猫、犬 안녕하세요! हिन्दी नमस्ते العربية مرحبا עברית ไทย emoji😀smile 😀 😀😀 ❤️ ♥ ★ ☺ → ← • · ¿que? ¡hola! § ¶ † ‡ ‰ ‱ № ℃ ² ³ x² m³ H₂O a² ª º 5º 1ª ¹ ⁴
foo/bar/baz foo//bar foo\bar C:\dir /usr/bin ~/x foo/ /foo foo /bar and/or/not his/her him/herself s/he w/cheese w/ out 9/foo foo/9
a&b AT&T's at&t R&D, &c &c. b&w B&W black&white x&y&z &amp;c a&amp;b AT&amp;T
#1 #tag #tag's #5tag #a_b # tag @user @user's @user_1 @1 foo@bar @foo.bar a@b.c
$1 $1.50 $.50 $1,000 $1k $1-2 $1/2 US$1 NZ$1 HK$ S$5 R$5 $US 1$ 1.50$ $$ $$$ $x x$ €1.50 1€ £1 ¥1 ₹5 ₽5 ₩5 ¢5 5¢ cents50¢ ¤5
C++ c++ A++ C# F# c# g++ C+ c-- i++ a+ +a a-+b 4+ 4+4 4x4 4*4 18+ +1 1+1=2 100+
word- -word word-- --word word--word word -- word word- word — word — word—word word… word...word …word
ABC123 123abc a1b2 1a 1-a 1_a a_1 __a__ _a_ a__b user_name IMG_20190101 foo_ _foo
http://foo.com/bar.html. http://foo.com, (http://foo.com) <http://foo.com> www.foo.com. WWW.FOO.COM www.x Www.Foo.Com http:// http https foo.com/ foo.com/bar foo.com. foo.com.au foo.co foo.Com foo.ORG Foo.Org me@x.org. <me@x.org> mailto:me@x.org
etc., etc.; "etc." (etc.) i.e.: e.g.; U.S., U.S.; U.S.) U.S.' U.S.'s U.S.A's US's u.s.-based U.S.-based anti-U.S.
Mr.Smith Dr.Who St.Louis No.5 no.5 No.5a A.Smith J.Smith A.b a.B 5.a a.5 5.A
Mr Mrs Ms Dr St Jr Sr
'''.strip("\n").split("\n") + [
    '-- --- ---- - \u2013 \u2014 \u2015 \u2012 a--b a---b a-b -a a- a\u2013b a\u2014b 5\u20136 5\u20146',
    'zero\u200bwidth soft\xadhyphen nb sp thin sp em sp ideographic\u3000sp tab\ttab x\u2011y x\u2010y x\u2012y x\u2212y 5\u22123 \u22125 x\u2043y \u2e3a',
    "",
    " ",
    "...",
    "a\nb",
]

SUBJECTS = ["A man", "a woman's dog", "Two people", "the kids'", "An old-fashioned train", "3 giraffes",
            "A close-up of", "St. Patrick's", "Mr. Smith", "A black-and-white cat", "Some kids", "It's",
            "a Boeing 747", "the U.S. flag", "\"Stop\" sign", "People", "a T-shirt"]
VERBS = ["is riding", "are sitting on", "isn't near", "can't see", "holding", "won't eat", "stands by",
         "with", "that's on", "they're at", "plays", "jumping over", "looking at", "& eating"]
OBJECTS = ["a skateboard", "the tennis court", "1,000 bananas", "a half-eaten sandwich", "5 o'clock",
           "a laptop/monitor", "$5.00", "50% off", "a café", "the beach, at 10:30 p.m.", "a 1/2 pizza",
           "an 18th-century clock", "No. 5", "rock'n'roll", "the bride & groom", "a pair of 3.5\" disks",
           "a (very) big bear", "the street - alone", "a bus -- red", "frisbees...", "“quotes”", "it"]
ENDS = [".", "", "!", "?", " .", "!!", "...", ", too.", " ;", "\n", " etc.", " ok"]


def caption(random_):
    parts = [random_.choice(SUBJECTS), random_.choice(VERBS), random_.choice(OBJECTS)]
    while random_.random() < 0.3:
        parts += [random_.choice(["and", "while", "of", ","]), random_.choice(OBJECTS)]
    if random_.random() < 0.1:
        parts = parts[:random_.randrange(3)]
    return " ".join(parts) + random_.choice(ENDS)


def tokenized(texts):
    """Words of texts, by the wrapper that COCO's evaluation uses."""
    found = PTBTokenizer().tokenize({at: [{"caption": text}] for at, text in enumerate(texts)})
    return [found[at][0].split() for at in range(len(texts))]


def caption_set(random_, size, most):
    sets = []
    for _ in range(size):
        references = [caption(random_) for _ in range(random_.randint(1, most))]
        prediction = random_.choice([caption(random_), random_.choice(references)])
        if random_.random() < 0.3:
            words = prediction.split()
            random_.shuffle(words)
            prediction = " ".join(words)
        sets.append((prediction, references))
    return sets


def caption_scores(sets):
    tokenizer = PTBTokenizer()
    references = tokenizer.tokenize(
        {at: [{"caption": text} for text in texts] for at, (_, texts) in enumerate(sets)})
    predictions = tokenizer.tokenize({at: [{"caption": text}] for at, (text, _) in enumerate(sets)})
    bleu, each_bleu = Bleu(4).compute_score(references, predictions, verbose=0)
    cider, each_cider = Cider().compute_score(references, predictions)
    return {
        "texts": [{"prediction": text, "references": others} for text, others in sets],
        "bleu": bleu, "each_bleu": [list(scores) for scores in zip(*each_bleu)],
        "cider": float(cider), "each_cider": each_cider.tolist()}


def captions():
    random_ = random.Random(2)
    texts = TRICKY + [caption(random_) for _ in range(200)]
    sets = [caption_set(random_, 60, 5), caption_set(random_, 8, 1), caption_set(random_, 1, 3)]
    return {"words": list(map(list, zip(texts, tokenized(texts)))),
            "sets": [caption_scores(one) for one in sets]}


def rows(mask):
    return ["".join(map(str, row)) for row in mask.astype(int).tolist()]


def overlap(a, b, crowd=False):
    return float(coco_mask.iou([a], [b], [int(crowd)])[0][0])


def masks():
    random_ = np.random.default_rng(3)
    pairs = []
    for at in range(60):
        height, width = random_.integers(1, 12, 2)
        noise = random_.random((height, width))
        one = noise < random_.choice([0, 0.2, 0.5, 0.9, 1.1])
        other = (noise + 0.3 * random_.random((height, width))) < random_.choice([0, 0.3, 0.6, 2])
        encode = lambda mask: coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        pairs.append({"a": rows(one), "b": rows(other), "iou": overlap(encode(one), encode(other))})
    boxes = []
    for at in range(120):
        whole = at % 2 == 0
        values = random_.integers(0, 12, 8) if whole else random_.random(8) * 12
        a, b = [[float(value) for value in part] for part in (values[:4], values[4:])]
        boxes.append({"a": a, "b": b, "iou": overlap(a, b)})
    return {"masks": pairs, "boxes": boxes}


def detection_set(random_, pictures, labels, crowded):
    truths, found = [], []
    for picture in range(1, pictures + 1):
        for _ in range(random_.choice([0, 1, 3, 8])):
            side = random_.choice([12, 31, 32, 60, 96, 97, 200])
            box = [random_.randint(0, 300), random_.randint(0, 300),
                   side, random_.choice([side, side + 7])]
            area = random_.choice([box[2] * box[3], box[2] * box[3] * 0.6])
            label = random_.randrange(1, labels + 1)
            truths.append({
                "id": len(truths) + 1, "image_id": picture, "category_id": label, "bbox": box,
                "area": area, "iscrowd": int(random_.random() < crowded)})
            for _ in range(random_.choice([0, 1, 1, 2])):
                moved = [value + random_.choice([0, 0, 1, 3, 0.5, side / 4]) for value in box]
                found.append({
                    "image_id": picture, "bbox": moved, "score": round(random_.random(), 1),
                    "category_id": random_.choice([label, label, random_.randrange(1, labels + 2)])})
        for _ in range(random_.choice([0, 2, 120 if picture == 1 else 1])):
            found.append({
                "image_id": picture, "category_id": random_.randrange(1, labels + 1),
                "bbox": [random_.randint(0, 300), random_.randint(0, 300),
                         random_.randint(1, 120), random_.randint(1, 120)],
                "score": round(random_.random(), 2)})
    random_.shuffle(found)
    return truths, found


def average_precision(pictures, labels, truths, found):
    truth = COCO()
    truth.dataset = {
        "info": {}, "images": [{"id": at} for at in range(1, pictures + 1)],
        "categories": [{"id": at} for at in range(1, labels + 2)],
        "annotations": copy.deepcopy(truths)}
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(found)), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats.tolist()


def detections():
    random_ = random.Random(4)
    sets = []
    for pictures, labels, crowded in [(1, 1, 0), (6, 2, 0.2), (20, 3, 0.1), (12, 8, 0), (3, 1, 1)]:
        truths, found = detection_set(random_, pictures, labels, crowded)
        sets.append({
            "pictures": pictures,
            "truths": [[t["image_id"], t["category_id"], *t["bbox"], t["area"], t["iscrowd"]]
                       for t in truths],
            "detections": [[d["image_id"], d["category_id"], *d["bbox"], d["score"]] for d in found],
            "stats": average_precision(pictures, labels, truths, found)})
    return sets


def classes():
    random_ = random.Random(5)
    labels = ["cat", "dog", "Dog", "", "été", "zebra", "1", "😀"]
    sets = []
    for size in (1, 7, 90):
        truth = [random_.choice(labels[:6]) for _ in range(size)]
        found = [one if random_.random() < 0.5 else random_.choice(labels) for one in truth]
        names = sorted(set(truth + found))
        sets.append({
            "predictions": found, "references": truth, "labels": names,
            "accuracy": accuracy_score(truth, found),
            "counts": confusion_matrix(truth, found, labels=names).tolist()})
    return sets


def main(out):
    folder = os.path.join(out, "metrics")
    os.makedirs(folder, exist_ok=True)
    for make in (answers, captions, masks, detections, classes):
        # The references print their progress.
        with contextlib.redirect_stdout(io.StringIO()):
            made = make()
        with open(os.path.join(folder, f"{make.__name__}.json"), "w", encoding="utf-8") as file:
            json.dump(made, file, ensure_ascii=False, separators=(",", ":"))
            file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
