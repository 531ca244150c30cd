"""Meta's own libraries beside ours: every difference has a name, and every name a difference.

``facebook_business`` normalises people, ``capi_param_builder`` the browser's cookies; what its
sister for Node.js makes of people stands in ``tests/data/vectors.json``. Each difference has to
fall under exactly one of the classes below, which ``docs/matching.md`` lists.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from capi_param_builder import ParamBuilder
from facebook_business.adobjects.serverside.gender import Gender
from facebook_business.adobjects.serverside.normalize import Normalize
from facebook_business.adobjects.serverside.user_data import UserData

from wagtail_metapixel.identifiers import Fbc
from wagtail_metapixel.matching import match, normalise

HERE = Path(__file__).parent
DOCS = (HERE.parent / "docs" / "matching.md").read_text(encoding="utf-8")
VECTORS = json.loads((HERE / "data" / "vectors.json").read_text(encoding="utf-8"))
EMPTY = hashlib.sha256(b"").hexdigest()
PEOPLE = 3000


class Difference(NamedTuple):
    key: str
    raw: str
    ours: str | None
    """Before hashing; ``None`` when nothing is sent."""
    theirs: str | None
    country: str | None = None


class Class(NamedTuple):
    name: str
    keys: str
    explains: Callable[[Difference], bool]


def classes_of(difference, classes):
    return [
        known.name
        for known in classes
        if difference.key in known.keys.split() and known.explains(difference)
    ]


def documented(heading):
    section = DOCS.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| ([a-z][^|`]+?) \|", section, re.MULTILINE)[1:]


def check(differences, classes, heading):
    used = set()
    for difference in differences:
        found = classes_of(difference, classes)
        assert len(found) == 1, (found, ascii(difference))
        used.update(found)
    names = [known.name for known in classes]
    assert [name for name in names if name not in used] == [], "no longer needed"
    assert documented(heading) == names


# People

FIRST = """
    Anna Mary José Zoë Łukasz Ömer Søren Gökçe İpek Иван Анна Ольга Γιώργος Ελένη 王 芳 小明 さくら 太郎 민준
    محمد فاطمة דוד נועה राहुल ปรียา Nguyễn Đức Þór Ayşe Chloë Anne-Marie Jean-Luc D'Arcy J. van ... 서연
""".split()
FIRST += ["Anne Marie", "Mary\u2010Jo", "Ma\u200bry", "Jose\u0301", "\u200f\u05d3\u05d5\u05d3"]
LAST = """
    Smith Kowalska Nowak O'Neil O’Brien Müller Straße Çelik Dvořák Sørensen Петров Παπαδόπουλος 李 田中
    الأحمد כהן शर्मा ศรีสุข Trần Kowalska-Nowak St.John Ng Ó -- 김
""".split()  # noqa: RUF001
LAST += ["García Márquez", "van der Berg", "Mu\u0308ller", "Smith, Jr.", "Re\ufeffnard"]
CITY = """
    Paris Łódź Zürich München Köln Санкт-Петербург Αθήνα 東京 서울 القاهرة Bogotá L'Aquila Coeur-d'Alene
    Frankfurt/Main 12
""".split()
CITY += ["New York", "São Paulo", "Washington, D.C.", "29 Palms", "Paris 15", "Sa\u0303o Paulo"]
CITY += ["St. Gallen", "Den Haag (Zuid)", "東京\u200b"]
ADDRESSES = [  # (country, states, postcodes)
    ("US", ["CA", "California", "new york", "N.Y.", "TX 75001", "US-WA", "Puerto Rico"], ["94035", "94035-1234", "94035 1234", "940351234"]),
    ("USA", ["Texas", "NV"], ["10001", "10001\u20130001"]),
    ("United States", ["West Virginia", "az"], ["00118"]),
    ("ca", ["Québec", "British Columbia", "ON", "Prince Edward Island"], ["K1A 0B6", "k1a0b6"]),
    ("Canada", ["Ontario", "QC"], ["V5K 0A1"]),
    ("GB", ["Kent", "Greater London"], ["M1 1AE", "sw1a 1aa"]),
    ("UK", ["England", "Tyne & Wear"], ["EC1A-1BB", "N1"]),
    ("pl", ["Mazowieckie", "Łódzkie", "Ma\u0142opolskie"], ["00-950", "90-001", "1"]),
    ("Poland", ["Śląskie"], ["40 001"]),
    ("POL", ["Pomorskie", "12"], ["80.001"]),
    ("de", ["Bavaria", "Baden-Württemberg", "NRW", "Bade\u200bn"], ["80331", "D-80331", "10115"]),
    ("Deutschland", ["Bayern"], ["01067"]),
    ("FR", ["Île-de-France", "Provence-Alpes-Côte d'Azur"], ["75018", "75 018"]),
    ("Côte d'Ivoire", ["Abidjan"], ["1234"]),
    ("JP", ["東京都", "Tokyo"], ["101-0001", "\uff11\uff10\uff11\uff0d\uff10\uff10\uff10\uff11"]),
    ("BR", ["SP", "São Paulo"], ["01310-100"]),
    ("IE", ["Co. Dublin"], ["D02 X285"]),
    ("xx", ["Nowhere"], ["12345"]),
    ("U.S.", ["Ohio"], ["44101"]),
]  # fmt: skip
MAILBOX = "anna jan.kowalski o'neil info+shop 小明 jürgen олег First.Last".split()
DOMAIN = "example.com Example.ORG mail.example.co.uk münchen.de gmail.com".split()
ODD_EMAILS = ["nobody", "a@b@c.de", "a b@c.de", "mailto:a@b.de", "A <a@b.de>", "a@localhost", "@b.de", "a@b.de, c@d.de", "a\u200b@b.de", "a@b.de\ufeff", "jo\u0308rg@b.de"]  # fmt: skip
PHONES = [  # of the country in front, where it matters
    "+1 650 555 12{}", "+1 (650) 555-12{}", "001 650 555 12{}", "1650555 12{}", "+1.650.555.12{}", "+1/650/555/12{}",
    "+1 650 555 12{} ext 5", "+48 601 234 5{}", "0048 601 234 5{}", "+48\u00a0601\u00a0234\u00a05{}", "+48 601\u2011234\u20115{}",
    "+44 (0)20 7946 09{}", "+44 20 7946 09{}", "020 7946 09{}", "(650) 253-00{}", "601 234 5{}", "0601 234 5{}", "650.253.00{}",
    "\uff0b48 601 234 5{}", "+48 \uff16\uff10\uff11 234 5{}", "+4860123456789012{}", "12{}", "call 601 234 5{}", "0000000",
]  # fmt: skip
GENDER = ["f", "M", "Female", "male", " f ", "Woman", "mrs", "x", "other"]
ID = ["user-{}", "User {}", "{}", "a{}@example.com", "5d41402abc4b2a76b9719d911017{:04}", "6BA7B810-9DAD-11D1-80B4-00C04FD4{:04}"]  # fmt: skip


def birth(chance):
    day = f"{chance.randint(1930, 2007)}", f"{chance.randint(1, 12):02}", f"{chance.randint(1, 28):02}"  # fmt: skip
    forms = ["{0}{1}{2}", "{0}-{1}-{2}", "{2}.{1}.{0}", "{1}/{2}/{0}", "{0}-02-30", "{2}/{1}/90", "{0}"]  # fmt: skip
    return chance.choice(forms).format(*day)


def email(chance, number):
    if chance.random() < 0.25:
        return chance.choice(ODD_EMAILS)
    return f"{chance.choice(MAILBOX)}{number}@{chance.choice(DOMAIN)}"


def written(chance, text):
    """As people, forms and exports write it."""
    return chance.choice([text, text, text.upper(), text.lower(), f" {text}\t"])


def hashed_before(chance, text):
    digest = hashlib.sha256(text.encode()).hexdigest()
    forms = [digest, digest.upper(), f"{digest}.AQICAQMC", hashlib.md5(text.encode()).hexdigest()]
    return chance.choice(forms)


def people():
    chance = random.Random(20261122)
    for number in range(PEOPLE):
        country, states, postcodes = chance.choice(ADDRESSES)
        person = {
            "em": email(chance, number),
            "ph": chance.choice(PHONES).format(chance.randint(10, 99)),
            "fn": chance.choice(FIRST),
            "ln": chance.choice(LAST),
            "db": birth(chance),
            "ge": chance.choice(GENDER),
            "ct": chance.choice(CITY),
            "st": chance.choice(states),
            "zp": chance.choice(postcodes),
            "country": country,
            "external_id": chance.choice(ID).format(number),
        }
        for key in ("em", "fn", "ln", "ct", "st"):
            person[key] = written(chance, person[key])
        if number % 20 == 0:
            for key in chance.sample(["em", "ph", "fn", "ln", "db", "ct", "st", "zp"], 2):
                person[key] = hashed_before(chance, person[key])
        yield person


# Meta's SDK for Python

ARGUMENTS = {
    "em": "email", "ph": "phone", "fn": "first_name", "ln": "last_name", "db": "date_of_birth", "ge": "gender",
    "ct": "city", "st": "state", "zp": "zip_code", "country": "country_code", "external_id": "external_id",
}  # fmt: skip
GENDERS = {gender.value: gender for gender in Gender}
DIGEST = re.compile(r"[0-9a-f]{64}")
SEEN_BY_NOBODY = re.compile("[\u200b-\u200f\ufeff]")
JUNK = re.compile(r"[\s!-/:-@\[-`{-~]")


def sdk_wire(key, raw):
    """What ``UserData`` sends, ``None`` where it raises: which costs the whole request."""
    value = GENDERS.get(raw.strip().lower(), raw) if key == "ge" else raw
    try:
        sent = UserData(**{ARGUMENTS[key]: value}).normalize().get(key)
    except (TypeError, ValueError, AttributeError):
        return None
    return sent


def sdk_form(key, raw, wire):
    """The same before hashing."""
    if wire is None or key == "external_id":
        return wire and wire[0]
    form = Normalize.normalize_field_skip_hashing(key, raw)
    assert wire == [form if is_hashed(form) else hashlib.sha256(form.encode()).hexdigest()]
    return form


def is_hashed(text):
    return bool(re.fullmatch(r"[0-9a-f]{32}|[0-9a-f]{64}", text))


def is_hex(text):
    return bool(re.match(r"[0-9A-Fa-f]{32}", text))


def is_composed(text):
    return unicodedata.is_normalized("NFC", text) and not SEEN_BY_NOBODY.search(text)


def digits(text):
    return re.sub(r"[^0-9]", "", text)


def is_text(d):
    """Whether both sides had the text itself to work with, and found something in it."""
    return d.ours is not None and not is_hex(d.raw) and is_composed(d.raw)


def international(raw):
    return bool(re.match(r"\+|\uff0b|00[1-9]", raw))


SDK = (
    Class("sends the external id unhashed", "external_id", lambda d: d.theirs == d.raw.strip() == d.ours),
    Class("passes MD5 on", "em ph fn ln db ct st zp", lambda d: bool(re.fullmatch("[0-9a-f]{32}", d.raw)) and d.ours is None),
    Class("knows no mark behind a digest", "em ph fn ln db ct st zp", lambda d: d.raw.endswith(".AQICAQMC") and d.ours == d.raw[:64]),
    Class("takes addresses that are none", "em", lambda d: d.ours is None and not is_hex(d.raw)),
    Class("hashes what is decomposed or invisible", "em fn ln ct st", lambda d: not is_composed(d.raw) and d.ours is not None and is_composed(d.ours)),
    Class("keeps spaces and punctuation of names", "fn ln", lambda d: is_text(d) and JUNK.sub("", d.theirs) == d.ours),
    Class("hashes punctuation alone", "fn ln", lambda d: d.ours is None and bool(d.theirs) and not JUNK.sub("", d.theirs)),
    Class("hashes the empty text", "ct st", lambda d: d.ours is None and d.theirs == ""),
    Class("keeps other punctuation of places", "ct st", lambda d: is_text(d) and d.theirs != JUNK.sub("", d.theirs) == d.ours),
    Class("drops the digits of cities", "ct", lambda d: is_text(d) and re.sub(r"\d", "", d.ours) == d.theirs),
    Class("leaves names of states", "st", lambda d: is_text(d) and d.country in {"us", "ca"} and len(d.ours) == 2 < len(d.theirs)),
    Class("leaves long American postcodes", "zp", lambda d: d.country == "us" and len(d.ours or "") == 5 and d.theirs.startswith(d.ours)),
    Class("keeps dots and wide digits of postcodes", "zp", lambda d: is_text(d) and d.country != "us" and not d.raw.startswith("D-")),
    Class("takes a letter for a postcode", "zp", lambda d: d.ours is None and len(d.theirs) == 1),
    Class("takes the country for a postcode", "zp", lambda d: d.raw == f"D-{d.ours}" and d.theirs == "d"),
    Class("refuses names of countries", "country", lambda d: d.theirs is None and d.ours is not None),
    Class("refuses words for a gender", "ge", lambda d: d.theirs is None and d.raw.lower() in {"female", "male", "woman"}),
    Class("hashes dates as they are written", "db", lambda d: not is_hex(d.raw) and d.theirs == d.raw),
    Class("hashes national numbers as they are", "ph", lambda d: not international(d.raw) and is_text(d) and d.theirs is not None),
    Class("hashes numbers that may be anybody's", "ph", lambda d: d.ours is None and not is_hex(d.raw) and len(d.theirs) <= 15),
    Class("hashes numbers that are too long", "ph", lambda d: d.ours is None and not is_hex(d.raw) and len(d.theirs) > 15),
    Class("refuses dots, slashes, dashes and extensions", "ph", lambda d: is_text(d) and d.theirs is None),
    Class("keeps the zero after the country code", "ph", lambda d: "(0)" in d.raw and is_text(d) and d.theirs == d.ours.replace("44", "440", 1)),
    Class("keeps wide digits", "ph", lambda d: "\uff16" in d.raw and is_text(d) and d.theirs is not None),
)  # fmt: skip


def sdk_differences():
    for person in people():
        sent = match(person)[0]
        country = normalise("country", person["country"])
        for key, raw in person.items():
            wire = sdk_wire(key, raw)
            if sent.get(key) != wire:
                ours = normalise(key, raw, country=country) if key in sent else None
                yield Difference(key, raw, ours, sdk_form(key, raw, wire), country)


def test_3000_people_differ_from_meta_s_sdk_only_in_what_is_named():
    check(list(sdk_differences()), SDK, "Beside Meta's SDK for Python")


# Meta's parameter builder for Python: cookies and click ids; it does not touch people

FBP_COOKIES = [
    "fb.1.1736063807103.5266{}", "fb.1.1736063807103.526608478763752{:04}", "fb.2.1736063807103.5266{}.AQEAAQMB",
    "fb.1.1736063807103.5266{}.Bg", "fb.1.1736063807103.5266{}.ZZ", "fb.1.1736063807.5266{}", "fb.1.abc.{}", "GA1.2.3.{}",
    "fb.1.1736063807103.1234567890123456{:04}", "fb.1.1736063807103.5266{}.!!!!!!!!", "undefined", "", None,
]  # fmt: skip
FBC_COOKIES = [
    "fb.1.1736063807103.IwAR2F4-dbP0l7Mn1_aem_{}", "fb.1.1736063807103.AbC{}.AQIAAQMC", "fb.1.1736063807103.AbC{}.Ag",
    "fb.1.1736063807.AbC{}", "fb.1.1736063807103.<b>{}", "fb.1.1736063807103.Ab.C.{}", "null", None,
]  # fmt: skip
CLICK_IDS = [None, None, None, "IwAR9x_-{}", "AbC{}", "a;b{}", "", "Ab.{}"]


def browsers():
    chance = random.Random(20261123)
    for number in range(PEOPLE):
        fbp, fbc, fbclid = map(chance.choice, (FBP_COOKIES, FBC_COOKIES, CLICK_IDS))
        yield [text if text is None else text.format(number) for text in (fbp, fbc, fbclid)]


def built(fbp, fbc, fbclid):
    """What Meta's builder makes of a request: fbp and fbc."""
    builder = ParamBuilder(["example.com"])
    cookies = {name: text for name, text in (("_fbp", fbp), ("_fbc", fbc)) if text is not None}
    query = {} if fbclid is None else {"fbclid": [fbclid]}
    builder.process_request("www.example.com", query, cookies)
    return builder.get_fbp(), builder.get_fbc()


def is_new(cookie):
    """Whether the builder made it a moment ago."""
    moment = cookie.split(".")[2]
    return moment.isdigit() and abs(int(moment) / 1000 - time.time()) < 60


def our_click_id(cookie, fbclid, theirs):
    """The cookie's, unless the address has another."""
    held = match({"fbc": cookie})[0].get("fbc")
    if fbclid is None or (held and Fbc.parse(held).payload == fbclid):
        return held
    created_ms = int(theirs.split(".")[2]) if is_new(theirs) else 1_736_063_807_103
    found = Fbc.from_fbclid(fbclid, created_ms=created_ms)
    return str(found) if found else held


def browser_differences():
    for fbp, fbc, fbclid in browsers():
        their_fbp, their_fbc = built(fbp, fbc, fbclid)
        ours = match({"fbp": fbp})[0].get("fbp")
        if ours != their_fbp:
            yield Difference("fbp", f"{fbp}", ours, their_fbp)
        ours = our_click_id(fbc, fbclid, their_fbc or "..")
        if ours != their_fbc:
            yield Difference("fbc", f"{fbc} {fbclid}", ours, their_fbc)


BUILDER = (
    Class("adds its mark", "fbp fbc", lambda d: re.fullmatch(r"\.[\w-]{8}", d.theirs.removeprefix(d.ours or "-")) is not None),
    Class("makes a browser id", "fbp", lambda d: d.ours is None and is_new(d.theirs)),
    Class("takes any four or five parts", "fbp fbc", lambda d: not is_new(d.theirs) and not match({d.key: d.raw.split(" ")[0]})[0]),
    Class("takes anything for a click id", "fbc", lambda d: is_new(d.theirs) and not (d.ours or "").startswith(d.theirs[:-9])),
)  # fmt: skip


def test_3000_browsers_differ_from_meta_s_builder_only_in_what_is_named():
    check(list(browser_differences()), BUILDER, "Beside Meta's parameter builder for Python")


# Meta's parameter builder for Node.js, as the collected vectors recorded it

COOKIES_AND_ADDRESSES = {"cookies", "event_source_url", "referrer_url", "client_ip_address"}
RECORDED = [vector for vector in VECTORS if vector.get("param_builder_node")]


def without_letters(text):
    return re.sub("[^a-z]", "", text)


NODE = (
    Class("takes strict ASCII addresses only", "em", lambda d: d.theirs is None and not is_hex(d.raw)),
    Class("knows no digest but its own", "em", lambda d: is_hex(d.raw)),
    Class("strips whatever a phone number holds", "ph", lambda d: digits(d.raw).endswith(d.theirs or "-")),
    Class("knows no digits but ASCII", "ph", lambda d: d.theirs is None and not digits(d.raw)),
    Class("hashes decomposed names", "fn", lambda d: d.ours == unicodedata.normalize("NFC", d.theirs) != d.theirs),
    Class("guesses and never refuses a date", "db", lambda d: d.ours is None),
    Class("knows more words for a gender", "ge", lambda d: d.ours is None),
    Class("drops letters that are not ASCII from cities", "ct", lambda d: not d.ours.isascii() and without_letters(d.ours) == (d.theirs or "")),
    Class("refuses cities that begin with a digit", "ct", lambda d: d.raw[0].isdigit() and d.theirs is None),
    Class("knows states without their country", "st", lambda d: normalise("st", d.raw, country="us") == d.theirs or normalise("st", d.raw, country="ca") == d.theirs),
    Class("cuts other states to two letters", "st", lambda d: without_letters(d.ours)[:2] == d.theirs and d.theirs not in {normalise("st", d.raw, country="us"), normalise("st", d.raw, country="ca")}),
    Class("keeps spaces and long forms of postcodes", "zp", lambda d: d.theirs.replace(" ", "").startswith(d.ours)),
    Class("takes the country for a postcode", "zp", lambda d: d.raw.lower().startswith(f"{d.theirs}-")),
    Class("cuts other countries to two letters", "country", lambda d: without_letters(d.raw.lower())[:2] == d.theirs),
    Class("lower-cases external ids and closes their gaps", "external_id", lambda d: re.sub(r"\s", "", d.raw.lower()) == d.theirs),
)  # fmt: skip


def recorded_differences():
    for vector in RECORDED:
        key, raw = vector["param"], vector["raw"]
        if key in COOKIES_AND_ADDRESSES | {"currency"}:
            continue
        ours, theirs = normalise(key, raw), vector["param_builder_node"]["normalized"] or None
        if ours != theirs:
            yield Difference(key, raw, ours, theirs)


def test_the_recorded_builder_differs_only_in_what_is_named():
    check(list(recorded_differences()), NODE, "Beside Meta's parameter builder for Node.js")
