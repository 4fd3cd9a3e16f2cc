"""What the VADER of its authors says, as JSON lines [text, compound].

    python3 vader.py vaderSentiment-3.3.2.tar.gz            the texts that come with it, and made ones
    python3 vader.py vaderSentiment-3.3.2.tar.gz --record   some of them: tests/sentiment/vader.jsonl
"""
import glob, io, json, os, random, sys, tarfile, tempfile

EDGES = [
    "VADER is smart, handsome, and funny.", "VADER is smart, handsome, and funny!", "VADER is VERY SMART, handsome, and FUNNY.",
    "VADER is VERY SMART, handsome, and FUNNY!!!", "VADER is VERY SMART, uber handsome, and FRIGGIN FUNNY!!!",
    "VADER is not smart, handsome, nor funny.", "The book was good.", "At least it isn't a horrible book.",
    "The book was only kind of good.", "The plot was good, but the characters are uncompelling and the dialog is not great.",
    "Today SUX!", "Today only kinda sux! But I'll get by, lol", "Make sure you :) or :D today!", "Catch utf-8 emoji such as 💘 and 💋 and 😁",
    "Not bad at all", "least good", "at least good", "the very least good", "she is the least happy person here",
    "no good", "no", "NO good here", "there is no good or bad", "no hope or love", "never so good", "never this good a day", "I was never so happy",
    "without doubt good", "without a doubt good", "without any doubt excellent", "he is the shit man", "this was the bomb really",
    "he rides a bad ass bike to town", "yes well yeah right great", "we wait at the bus stop now", "that was the kiss of death for love",
    "it is a dress to die for darling", "one more beating heart of love", "it was just enough good", "it is sort of nice today",
    "she is kind of great", "that is kind of", "GOOD", "GOOD day", "good DAY", "so so so good", "this is so bad", "it is so this good", "good but good but good",
    "good good good but good good", "2.0 love but love love like likes like", "but good", "good but", "!!!", "? ? ?", "good???", "good????", "bad!!!!!!!", "bad?!?!",
    "😀", "😀😀", "good😀bad", "😀bad", "a 😡😡 b", "♥", "❤️", "❤️ you", "👍🏽", "🏳️‍🌈 love", "©®", "ΩΣ GOOD day", "ǅ GOOD day", "ΣΑΣ good", "\u212aIND OF good",
    "n't good", "AIN'T good", "isn’t good", "isn't good", "xxn'txx good", "a\u001cgood\u001fday", "good\u00a0day", "good\u0085day", "a\u2028good", "good\u200bday", "good\u0000day", "\u0000",
    "مرحبا good شكرا", "שלום bad", "\u202egood\u202c", "(good)", "((bad))", "'good'", ":)", ":-(", ":D", "x:)", "...good...", "g", "ok", "-ok-", "--ok--", "a-ok", "can't stand it", "fed up",
    "uh-uh good", "uhuh good", "despite good weather", "rarely good", "hardly GOOD", "HARDLY good", "VERY good", "very GOOD day", "not very good", "not so very good",
    "nor good", "neither good nor bad", "good  bad", " good ", "\tgood\n", "kind-of good", "sort-of good", "(:O", "'-:", "%-)", "8-)", "<3", "</3", "lol!", "won't. good", "mixed 😀! case GOOD 😍?",
    "good " * 300, "good bad but " * 100, "love " * 50 + "but " + "hate " * 60, "A" * 3000, "é" * 500 + " good",
]

WORDS = """no or nor least at very so this never without doubt but kind of the shit bomb bad ass bus stop yeah right kiss death
    to die for beating heart sort just enough not isn't AIN'T cannot rarely despite the a day it was hardly extremely VERY SO kinda
    good GOOD bad BAD love hate great fine ok sucks funny excellent horrible :) :( <3 😀 😡 ❤ 👍 ! !! ? ?? ???? , . good! bad, (great) 'fine'""".split()


def made(lexicon, count):
    pick = random.Random(4)
    rated = [word for word in lexicon if " " not in word]
    for _ in range(count):
        words = [pick.choice(WORDS) if pick.random() < 0.7 else pick.choice(rated) for _ in range(pick.randint(1, 14))]
        words = [pick.choice([str.upper, str.title, str, str, str, str])(word) for word in words]
        yield "".join(word + pick.choice([" "] * 12 + ["", "  ", "! "]) for word in words)


def main():
    folder = tempfile.mkdtemp()
    with tarfile.open(sys.argv[1]) as archive:
        archive.extractall(folder)
    root = glob.glob(folder + "/vaderSentiment-*")[0]
    sys.path.insert(0, root)
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    vader = SentimentIntensityAnalyzer()
    texts = {}
    with tarfile.open(root + "/additional_resources/hutto_ICWSM_2014.tar.gz") as archive:
        for member in sorted(archive.getnames()):
            if member.endswith("_GroundTruth.txt"):
                lines = archive.extractfile(member).read().decode("utf-8", "replace").splitlines()
                texts[os.path.basename(member)] = [line.split("\t")[2] for line in lines if line.count("\t") >= 2]
    print({name: len(lines) for name, lines in texts.items()}, file=sys.stderr)
    if "--record" in sys.argv:
        tweets = random.Random(4).sample(texts["tweets_GroundTruth.txt"], 300)
        chosen = EDGES + tweets + list(made(vader.lexicon, 300))
    else:
        chosen = EDGES + sum(texts.values(), []) + list(made(vader.lexicon, 20000))
    out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
    for text in chosen:
        if text.strip():
            out.write(json.dumps([text, vader.polarity_scores(text)["compound"]], ensure_ascii=False) + "\n")
    out.flush()


main()
