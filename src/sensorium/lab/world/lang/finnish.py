"""Finnish: no articles, adjective and noun in one case; genitive with relations, partitive after numbers."""

from __future__ import annotations

from .grammar import Adjective, Frame, Language, Noun, Relation

CASES = ("nominative", "genitive", "partitive")


def _noun(nominative: str, genitive: str, partitive: str, plural: str) -> Noun:
    return Noun("", dict(zip(CASES, (nominative, genitive, partitive), strict=True)), plural)


def _adjective(nominative: str, genitive: str, partitive: str) -> Adjective:
    return Adjective(dict(zip(CASES, (nominative, genitive, partitive), strict=True)))


def _nen(stem: str) -> Adjective:
    """punainen, punaisen, punaista. The vowel of the partitive follows the harmony of the stem's last vowels."""
    back = any(vowel in stem for vowel in "aou")
    return _adjective(stem + "nen", stem + "sen", stem + ("sta" if back else "stä"))


FINNISH = Language(
    tag="fi",
    name="Finnish",
    cases=CASES,
    shapes=(
        _noun("ympyrä", "ympyrän", "ympyrää", "ympyrät"),
        _noun("neliö", "neliön", "neliötä", "neliöt"),
        _noun("kolmio", "kolmion", "kolmiota", "kolmiot"),
        _noun("tähti", "tähden", "tähteä", "tähdet"),
        _noun("risti", "ristin", "ristiä", "ristit"),
        _noun("rengas", "renkaan", "rengasta", "renkaat"),
    ),
    thing=_noun("kuvio", "kuvion", "kuviota", "kuviot"),
    colours=(
        _nen("punai"),
        _adjective("vihreä", "vihreän", "vihreää"),
        _adjective("sininen", "sinisen", "sinistä"),
        _nen("keltai"),
        _adjective("violetti", "violetin", "violettia"),
        _adjective("oranssi", "oranssin", "oranssia"),
        _adjective("syaani", "syaanin", "syaania"),
        _adjective("ruskea", "ruskean", "ruskeaa"),
    ),
    sizes=(_adjective("pieni", "pienen", "pientä"), _adjective("suuri", "suuren", "suurta")),
    textures=(_adjective("yksivärinen", "yksivärisen", "yksiväristä"), _nen("raidalli"), _nen("pilkulli")),
    grounds=("valkoinen", "harmaa", "musta"),
    synonyms={
        "shape": {
            0: _noun("kiekko", "kiekon", "kiekkoa", "kiekot"),
            1: _noun("ruutu", "ruudun", "ruutua", "ruudut"),
            4: _noun("plusmerkki", "plusmerkin", "plusmerkkiä", "plusmerkit"),
            5: _noun("vanne", "vanteen", "vannetta", "vanteet"),
        },
        "colour": {
            0: _nen("tulipunai"),
            1: _adjective("smaragdinvihreä", "smaragdinvihreän", "smaragdinvihreää"),
            2: _adjective("merensininen", "merensinisen", "merensinistä"),
            3: _nen("kullankeltai"),
            4: _nen("sinipunai"),
            6: _adjective("turkoosi", "turkoosin", "turkoosia"),
            7: _adjective("kastanjanruskea", "kastanjanruskean", "kastanjanruskeaa"),
        },
        "size": {0: _nen("pikkui"), 1: _adjective("iso", "ison", "isoa")},
        "texture": {
            1: _adjective("juovikas", "juovikkaan", "juovikasta"),
            2: _adjective("täplikäs", "täplikkään", "täplikästä"),
        },
    },
    relations=tuple(
        Relation("", "genitive", words)
        for words in ("vasemmalla puolella", "oikealla puolella", "yläpuolella", "alapuolella")
    ),
    other_relations=tuple(
        Relation("", "genitive", words) for words in ("vasemmalla sivulla", "oikealla sivulla", "yllä", "alla")
    ),
    places=(
        "vasemmassa yläkulmassa",
        "ylhäällä keskellä",
        "oikeassa yläkulmassa",
        "keskellä vasemmalla",
        "keskellä",
        "keskellä oikealla",
        "vasemmassa alakulmassa",
        "alhaalla keskellä",
        "oikeassa alakulmassa",
    ),
    cell="rivillä {row} sarakkeessa {col}",
    frames=(
        Frame("{place} on {np}.", "nominative"),
        Frame("{np} on {place}.", "nominative"),
        Frame("{place} näkyy {np}.", "nominative"),
    ),
    ground="tausta on {ground}.",
    backdrop="tausta",
    point=Frame("osoita {np}.", "partitive"),
    join=(", ", " ja "),
    numbers=(
        "nolla",
        "yksi",
        "kaksi",
        "kolme",
        "neljä",
        "viisi",
        "kuusi",
        "seitsemän",
        "kahdeksan",
        "yhdeksän",
        "kymmenen",
    ),
    counted=lambda n: "kuvio" if n == 1 else "kuviota",
    agree=lambda gender, case, definite: case,
    article=lambda gender, case, definite, following: "",
)
