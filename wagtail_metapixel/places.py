"""Countries, and the states of America and Canada, as the codes by which Meta knows them.

Of countries ISO 3166-1 as of 2026: both codes, the English short name, everyday English names and,
for many, the name a country has for itself. Of states the two letters of ANSI and Canada Post.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache

NAME_MAX = 100
"""Characters; no country has a longer name."""


@lru_cache(maxsize=512)
def country_code(text: str) -> str | None:
    """Return the lower-case ISO 3166-1 code of a country, ``None`` when the text names none.

    Takes both codes (``PL``, ``POL``) and names, whatever their case, accents and punctuation and,
    as far as ``of``, ``the`` and ``and`` go, the order of their words: ``"Korea, Republic of"``.
    """
    code = text.lower()
    if code in COUNTRIES:
        return code
    if len(code) > NAME_MAX:
        return None
    names = _by_name()
    return names.get(code) or names.get(_folded(code))


def state_code(name: str, country: str | None) -> str:
    """Return the two letters of an American or Canadian state, and any other name as it is.

    ``name`` is lower case and has no spaces or punctuation; without a country nothing is certain,
    for Georgia is one of each.
    """
    codes = _STATES.get(country or "")
    if codes is None:
        return name
    return codes.get(name) or codes.get(_without_marks(name), name)


_APART = re.compile(r"[^\w]+|_")
_WITHIN_A_WORD = str.maketrans("", "", ".'\u2019\u2018`\u00b4\u02bc")
_SMALL_WORDS = frozenset({"of", "the", "and"})
_SHORT_WORDS = {"st": "saint", "rep": "republic", "dem": "democratic", "is": "islands"}


def _folded(name: str) -> str:
    """Return the words of a name in alphabetical order, without accents and without small words."""
    words = _APART.split(_without_marks(name).translate(_WITHIN_A_WORD).replace("&", " and "))
    told = [_SHORT_WORDS.get(word, word) for word in words if word and word not in _SMALL_WORDS]
    return " ".join(sorted(told))


def _without_marks(text: str) -> str:
    if text.isascii():
        return text
    letters = unicodedata.normalize("NFKD", text.replace("\u0131", "i").replace("\u0142", "l"))
    return "".join([letter for letter in letters if not unicodedata.combining(letter)])


# Two letters, three letters, and the names.
_COUNTRIES = """
    ad and Andorra
    ae are United Arab Emirates / UAE / Emirates
    af afg Afghanistan
    ag atg Antigua and Barbuda / Antigua
    ai aia Anguilla
    al alb Albania / Shqipëria
    am arm Armenia
    ao ago Angola
    aq ata Antarctica
    ar arg Argentina / Argentine Republic
    as asm American Samoa
    at aut Austria / Österreich / Oesterreich
    au aus Australia
    aw abw Aruba
    ax ala Åland Islands / Åland
    az aze Azerbaijan / Azərbaycan
    ba bih Bosnia and Herzegovina / Bosnia / Bosna i Hercegovina
    bb brb Barbados
    bd bgd Bangladesh
    be bel Belgium / België / Belgique / Belgien
    bf bfa Burkina Faso
    bg bgr Bulgaria / България
    bh bhr Bahrain
    bi bdi Burundi
    bj ben Benin / Bénin
    bl blm Saint Barthélemy / Saint Barts
    bm bmu Bermuda
    bn brn Brunei Darussalam / Brunei
    bo bol Bolivia / Plurinational State of Bolivia
    bq bes Bonaire, Sint Eustatius and Saba / Bonaire / Caribbean Netherlands
    br bra Brazil / Brasil
    bs bhs Bahamas
    bt btn Bhutan
    bv bvt Bouvet Island
    bw bwa Botswana
    by blr Belarus / Беларусь
    bz blz Belize
    ca can Canada
    cc cck Cocos (Keeling) Islands / Cocos Islands / Keeling Islands
    cd cod Democratic Republic of the Congo / DR Congo / DRC / Congo-Kinshasa / Zaire
    cf caf Central African Republic
    cg cog Congo / Republic of the Congo / Congo-Brazzaville
    ch che Switzerland / Schweiz / Suisse / Svizzera / Swiss Confederation
    ci civ Côte d'Ivoire / Ivory Coast / Cote d Ivoire
    ck cok Cook Islands
    cl chl Chile
    cm cmr Cameroon / Cameroun
    cn chn China / People's Republic of China / PRC / Mainland China / 中国
    co col Colombia
    cr cri Costa Rica
    cu cub Cuba
    cv cpv Cabo Verde / Cape Verde
    cw cuw Curaçao
    cx cxr Christmas Island
    cy cyp Cyprus / Κύπρος
    cz cze Czechia / Czech Republic / Česko / Česká republika
    de deu Germany / Federal Republic of Germany / Deutschland
    dj dji Djibouti
    dk dnk Denmark / Danmark
    dm dma Dominica
    do dom Dominican Republic / República Dominicana
    dz dza Algeria / Algérie
    ec ecu Ecuador
    ee est Estonia / Eesti
    eg egy Egypt
    eh esh Western Sahara
    er eri Eritrea
    es esp Spain / España
    et eth Ethiopia
    fi fin Finland / Suomi
    fj fji Fiji
    fk flk Falkland Islands (Malvinas) / Falkland Islands / Falklands
    fm fsm Federated States of Micronesia / Micronesia
    fo fro Faroe Islands / Føroyar / Faroes
    fr fra France / French Republic / République française
    ga gab Gabon
    gb gbr United Kingdom of Great Britain and Northern Ireland / United Kingdom / UK / Great Britain \
        / Britain / England / Scotland / Wales / Northern Ireland
    gd grd Grenada
    ge geo Georgia / საქართველო
    gf guf French Guiana
    gg ggy Guernsey
    gh gha Ghana
    gi gib Gibraltar
    gl grl Greenland
    gm gmb Gambia
    gn gin Guinea
    gp glp Guadeloupe
    gq gnq Equatorial Guinea
    gr grc Greece / Hellas / Hellenic Republic / Ελλάδα / EL
    gs sgs South Georgia and the South Sandwich Islands / South Georgia
    gt gtm Guatemala
    gu gum Guam
    gw gnb Guinea-Bissau
    gy guy Guyana
    hk hkg Hong Kong / Hongkong / Hong Kong SAR / Hong Kong SAR China / 香港
    hm hmd Heard Island and McDonald Islands
    hn hnd Honduras
    hr hrv Croatia / Hrvatska
    ht hti Haiti / Haïti
    hu hun Hungary / Magyarország
    id idn Indonesia
    ie irl Ireland / Republic of Ireland / Éire
    il isr Israel / ישראל
    im imn Isle of Man
    in ind India / Republic of India / Bharat
    io iot British Indian Ocean Territory / Chagos Islands
    iq irq Iraq
    ir irn Iran / Islamic Republic of Iran
    is isl Iceland / Ísland
    it ita Italy / Italian Republic / Italia
    je jey Jersey
    jm jam Jamaica
    jo jor Jordan
    jp jpn Japan / 日本 / 日本国
    ke ken Kenya
    kg kgz Kyrgyzstan
    kh khm Cambodia
    ki kir Kiribati
    km com Comoros
    kn kna Saint Kitts and Nevis
    kp prk Democratic People's Republic of Korea / North Korea / DPRK
    kr kor Republic of Korea / South Korea / 대한민국 / 한국
    kw kwt Kuwait
    ky cym Cayman Islands
    kz kaz Kazakhstan / Қазақстан
    la lao Lao People's Democratic Republic / Lao PDR / Laos
    lb lbn Lebanon
    lc lca Saint Lucia
    li lie Liechtenstein
    lk lka Sri Lanka
    lr lbr Liberia
    ls lso Lesotho
    lt ltu Lithuania / Lietuva
    lu lux Luxembourg / Luxemburg / Lëtzebuerg
    lv lva Latvia / Latvija
    ly lby Libya
    ma mar Morocco / Maroc
    mc mco Monaco
    md mda Moldova / Republic of Moldova
    me mne Montenegro / Crna Gora
    mf maf Saint Martin (French part) / Saint Martin
    mg mdg Madagascar
    mh mhl Marshall Islands
    mk mkd North Macedonia / Republic of North Macedonia / Macedonia
    ml mli Mali
    mm mmr Myanmar / Burma / Myanmar (Burma)
    mn mng Mongolia
    mo mac Macao / Macau / Macao SAR / Macao SAR China
    mp mnp Northern Mariana Islands
    mq mtq Martinique
    mr mrt Mauritania
    ms msr Montserrat
    mt mlt Malta
    mu mus Mauritius
    mv mdv Maldives
    mw mwi Malawi
    mx mex Mexico / México
    my mys Malaysia
    mz moz Mozambique / Moçambique
    na nam Namibia
    nc ncl New Caledonia
    ne ner Niger
    nf nfk Norfolk Island
    ng nga Nigeria
    ni nic Nicaragua
    nl nld Netherlands / Kingdom of the Netherlands / Nederland / Holland
    no nor Norway / Norge / Noreg
    np npl Nepal
    nr nru Nauru
    nu niu Niue
    nz nzl New Zealand / Aotearoa
    om omn Oman
    pa pan Panama
    pe per Peru
    pf pyf French Polynesia
    pg png Papua New Guinea
    ph phl Philippines / Republic of the Philippines / Pilipinas
    pk pak Pakistan
    pl pol Poland / Republic of Poland / Polska / Rzeczpospolita Polska
    pm spm Saint Pierre and Miquelon
    pn pcn Pitcairn / Pitcairn Islands
    pr pri Puerto Rico
    ps pse State of Palestine / Palestine / Palestinian Territories
    pt prt Portugal / Portuguese Republic
    pw plw Palau
    py pry Paraguay
    qa qat Qatar
    re reu Réunion
    ro rou Romania / România
    rs srb Serbia / Srbija / Србија
    ru rus Russian Federation / Russia / Россия
    rw rwa Rwanda
    sa sau Saudi Arabia / Kingdom of Saudi Arabia / KSA
    sb slb Solomon Islands
    sc syc Seychelles
    sd sdn Sudan
    se swe Sweden / Sverige
    sg sgp Singapore
    sh shn Saint Helena, Ascension and Tristan da Cunha / Saint Helena
    si svn Slovenia / Slovenija
    sj sjm Svalbard and Jan Mayen / Svalbard
    sk svk Slovakia / Slovak Republic / Slovensko
    sl sle Sierra Leone
    sm smr San Marino
    sn sen Senegal / Sénégal
    so som Somalia
    sr sur Suriname
    ss ssd South Sudan
    st stp Sao Tome and Principe / São Tomé e Príncipe
    sv slv El Salvador
    sx sxm Sint Maarten (Dutch part) / Sint Maarten
    sy syr Syrian Arab Republic / Syria
    sz swz Eswatini / Swaziland
    tc tca Turks and Caicos Islands
    td tcd Chad / Tchad
    tf atf French Southern Territories
    tg tgo Togo
    th tha Thailand / ประเทศไทย
    tj tjk Tajikistan
    tk tkl Tokelau
    tl tls Timor-Leste / East Timor
    tm tkm Turkmenistan
    tn tun Tunisia / Tunisie
    to ton Tonga
    tr tur Türkiye / Turkey
    tt tto Trinidad and Tobago / Trinidad
    tv tuv Tuvalu
    tw twn Taiwan / Taiwan, Province of China / Republic of China / 台灣 / 臺灣
    tz tza Tanzania / United Republic of Tanzania
    ua ukr Ukraine / Україна
    ug uga Uganda
    um umi United States Minor Outlying Islands
    us usa United States of America / United States / US of A / America / Estados Unidos
    uy ury Uruguay
    uz uzb Uzbekistan
    va vat Holy See (Vatican City State) / Holy See / Vatican City / Vatican
    vc vct Saint Vincent and the Grenadines / Saint Vincent
    ve ven Venezuela / Bolivarian Republic of Venezuela
    vg vgb British Virgin Islands / BVI
    vi vir Virgin Islands of the United States / US Virgin Islands / USVI
    vn vnm Viet Nam / Vietnam / Việt Nam
    vu vut Vanuatu
    wf wlf Wallis and Futuna
    ws wsm Samoa
    ye yem Yemen
    yt myt Mayotte
    za zaf South Africa
    zm zmb Zambia
    zw zwe Zimbabwe
"""
_AMERICAN = """
    alabama:al alaska:ak arizona:az arkansas:ar california:ca colorado:co connecticut:ct
    delaware:de districtofcolumbia:dc washingtondc:dc florida:fl georgia:ga hawaii:hi idaho:id
    illinois:il indiana:in iowa:ia kansas:ks kentucky:ky louisiana:la maine:me maryland:md
    massachusetts:ma michigan:mi minnesota:mn mississippi:ms missouri:mo montana:mt nebraska:ne
    nevada:nv newhampshire:nh newjersey:nj newmexico:nm newyork:ny northcarolina:nc northdakota:nd
    ohio:oh oklahoma:ok oregon:or pennsylvania:pa rhodeisland:ri southcarolina:sc southdakota:sd
    tennessee:tn texas:tx utah:ut vermont:vt virginia:va washington:wa westvirginia:wv
    wisconsin:wi wyoming:wy americansamoa:as guam:gu northernmarianaislands:mp puertorico:pr
    virginislands:vi usvirginislands:vi armedforcesamericas:aa armedforceseurope:ae
    armedforcespacific:ap ncarolina:nc scarolina:sc ndakota:nd sdakota:sd wvirginia:wv
"""
_CANADIAN = """
    alberta:ab britishcolumbia:bc colombiebritannique:bc manitoba:mb newbrunswick:nb
    nouveaubrunswick:nb newfoundlandandlabrador:nl newfoundlandlabrador:nl newfoundland:nl
    labrador:nl terreneuveetlabrador:nl novascotia:ns nouvelleecosse:ns northwestterritories:nt
    territoiresdunordouest:nt nunavut:nu ontario:on princeedwardisland:pe ileduprinceedouard:pe
    quebec:qc saskatchewan:sk yukon:yt yukonterritory:yt pq:qc nf:nl nfld:nl pei:pe ont:on
"""


def _countries() -> Iterator[tuple[str, str, list[str]]]:
    for line in filter(None, map(str.strip, _COUNTRIES.splitlines())):
        two, three, names = line.split(maxsplit=2)
        yield two, three, names.lower().split(" / ")


@cache  # only a site that has names has to fold them
def _by_name() -> Mapping[str, str]:
    found: dict[str, str] = {}
    for two, three, names in _countries():
        found |= dict.fromkeys((two, three, *names, *map(_folded, names)), two)
    return found


def _states(country: str, names: str, written: str, around: str) -> dict[str, str]:
    codes = dict(pair.split(":") for pair in names.split())
    told = codes | {code: code for code in codes.values()}
    forms = [form.partition("*") for form in around.split()]
    codes |= {before + name + after: told[name] for name in codes for before, _, after in forms}
    codes |= {name + end: code for name, code in told.items() for end in written.split()}
    # ISO 3166-2 writes US-CA, of which only the letters are left here.
    return codes | {f"{country}{code}": code for code in told.values()}


COUNTRIES = frozenset(two for two, _three, _names in _countries())
"""The two-letter codes of ISO 3166-1, lower case."""
_STATES: Mapping[str, Mapping[str, str]] = {
    "us": _states("us", _AMERICAN, "usa unitedstates", "stateof* *state"),
    "ca": _states("ca", _CANADIAN, "canada", "provinceof*"),
}
