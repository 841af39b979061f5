"""Visible text of HTML, and the nodes that hold it. Nothing is fetched, run or expanded; hidden text is left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from sensorium.data.limits import Limits, Refused, Seen

ENDINGS = (".html", ".htm", ".xhtml")
MARKUP = 8
"""Characters of markup per character of text that limits.text allows."""
ELEMENTS = 500_000
"""Tags of a page, and those that unclosed formatting would repeat."""
ATTRIBUTES = 1000
"""Attributes of one tag; the parser compares each with each."""
OPEN = 16
"""Tags open at once before parsing, per level that limits.depth allows: unclosed tags are not always nested."""

# fmt: off
_NOT_NESTED = frozenset((
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr",
    "body", "caption", "colgroup", "dd", "dt", "head", "html", "li", "optgroup", "option", "p", "rp", "rt", "tbody",
    "td", "tfoot", "th", "thead", "tr",
))  # empty by definition, or closed by what follows
_FORMATTING = frozenset((
    "a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u",
))
_RAW = frozenset(("iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp"))
_UNSEEN = frozenset((
    "audio", "canvas", "datalist", "iframe", "noembed", "noframes", "noscript", "script", "style", "template", "video",
))
_BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "body", "br", "button", "caption", "dd", "details", "dialog", "div",
    "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header",
    "hr", "html", "label", "legend", "li", "main", "nav", "ol", "option", "p", "pre", "section", "select", "summary",
    "table", "tbody", "td", "textarea", "tfoot", "th", "thead", "title", "tr", "ul",
))
# fmt: on
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_TAG = re.compile(r"<!--|<(/?)([a-zA-Z][^\s/>]*+)")
_ATTRIBUTE = re.compile(r"""[\s/]*+[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>]*+))?+""")
_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s{0,20}=\s{0,20}["']?\s{0,20}([\w:.+-]{1,40})""", re.IGNORECASE)
_XML_CHARSET = re.compile(rb"""^<\?xml[^>]{0,200}?encoding\s{0,20}=\s{0,20}["']([\w:.+-]{1,40})""")
_BOMS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_CODECS = {
    "ascii": "cp1252", "us-ascii": "cp1252", "iso-8859-1": "cp1252", "latin1": "cp1252", "windows-1252": "cp1252",
    "utf-8": "utf-8", "utf8": "utf-8", "utf-16": "utf-8", "iso-8859-9": "cp1254", "macintosh": "mac-roman",
    "shift_jis": "cp932", "shift-jis": "cp932", "sjis": "cp932", "x-sjis": "cp932", "windows-31j": "cp932",
    "euc-jp": "euc-jp", "iso-2022-jp": "iso-2022-jp", "euc-kr": "cp949", "ks_c_5601-1987": "cp949", "tis-620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "gb18030": "gb18030", "big5": "big5hkscs", "koi8-r": "koi8-r",
    "koi8-u": "koi8-u", "ibm866": "cp866",
    **{f"windows-{n}": f"cp{n}" for n in (874, 1250, 1251, 1253, 1254, 1255, 1256, 1257, 1258)},
    **{f"iso-8859-{n}": f"iso-8859-{n}" for n in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)},
}  # fmt: skip
"""The encodings of the web (encoding.spec.whatwg.org, 4.2) by their common labels; no other codec is ever looked up."""


@dataclass(frozen=True)
class Node:
    """One run of visible text: the tag around it, where it stands (as in XPath: /html/body/div[2]/p), its text with
    white space collapsed."""

    tag: str
    path: str
    text: str


def check(data: bytes, limits: Limits) -> Seen:
    """Parses the whole page."""
    try:
        markup, notes = _markup(data, limits)
        lines, kind = _lines(markup, limits)
        characters = len("\n".join(lines))
        notes += [] if characters else ["no visible text"]
        return Seen(about=f"{kind}, {characters:,} character{'s' * (characters != 1)}", notes=tuple(notes))
    except Refused as reason:
        return Seen(str(reason))


def text(data: bytes | str, limits: Limits) -> str:
    """Title, headings, paragraphs …: what a reader sees, one line per block, white space collapsed.

    Raises:
        Refused: with the reason.
    """
    return "\n".join(_lines(_markup(data, limits)[0], limits)[0])


def nodes(data: bytes | str, limits: Limits) -> list[Node]:
    """Every run of visible text in document order, with its place in the tree (as MarkupLM reads pages, 2110.08518).

    Raises:
        Refused: with the reason.
    """
    found, characters = [], 0
    for path, words in _walk(_markup(data, limits)[0], limits):
        if line := " ".join(words.split()):
            characters += len(line)
            _limit(characters, limits)
            found.append(Node(path[-1].partition("[")[0], "/" + "/".join(path), line))
    return found


def _lines(markup: str, limits: Limits) -> tuple[list[str], str]:
    """The lines of the visible text, and "article" or "page"."""
    lines: list[str] = []
    run: list[str] = []
    kind, characters = "page", 0
    for path, words in _walk(markup, limits):
        kind = "article" if path[-1].startswith("article") else kind
        if words:
            run.append(words)
        elif line := " ".join("".join(run).split()):
            characters += len(line) + 1
            _limit(characters, limits)
            lines.append(line)
            run = []
        else:
            run = []
    return lines, kind


def _walk(markup: str, limits: Limits) -> Iterator[tuple[list[str], str]]:
    """(path, text) of each visible text node in document order; (path, "") where a block begins or ends.

    Walked without recursion; `path` is the same list all along.
    """
    try:
        root = LexborHTMLParser(markup).root
    except SelectolaxError:  # its memory ran out
        raise Refused("does not parse") from None
    if root is None:
        return
    path = [root.tag or ""]
    open_nodes = [_children(root)]
    while open_nodes:
        child, step = next(open_nodes[-1], (None, ""))
        if child is None:
            if _name(path[-1]) in _BLOCKS or len(path) == 1:
                yield path, ""
            open_nodes.pop()
            path.pop()
        elif child.is_text_node:
            yield path, child.text_content or ""
        elif child.is_element_node and _seen(child, path[-1]):
            if len(path) >= limits.depth:
                raise Refused(f"nested deeper than {limits.depth}")
            path.append(step)
            open_nodes.append(_children(child))
            if child.tag in _BLOCKS:
                yield path, ""


def _name(step: str) -> str:
    return step.partition("[")[0]


def _children(node: LexborNode) -> Iterator[tuple[LexborNode, str]]:
    """Children with their step of a path: the tag, with its number where there are several."""
    children = list(node.iter(include_text=True))
    if len(children) == 1:
        yield children[0], children[0].tag or ""
        return
    total: Counter[str] = Counter(child.tag or "" for child in children)
    before: Counter[str] = Counter()
    for child in children:
        tag = child.tag or ""
        before[tag] += 1
        yield child, tag if total[tag] == 1 else f"{tag}[{before[tag]}]"


def _seen(node: LexborNode, parent: str) -> bool:
    """Whether a browser shows what is in an element, as far as the markup alone tells."""
    if node.tag in _UNSEEN or (node.tag == "title" and parent != "head"):
        return False
    attributes = node.attributes
    if "hidden" in attributes or (node.tag == "dialog" and "open" not in attributes):
        return False
    return not _HIDDEN.search(attributes.get("style") or "")


def _limit(characters: int, limits: Limits) -> None:
    if characters > limits.text:
        raise Refused(f"more than {limits.text:,} characters of text")


def _markup(data: bytes | str, limits: Limits) -> tuple[str, list[str]]:
    """Markup that is safe to parse, and what to note of its encoding."""
    if not data:
        raise Refused("zero bytes")
    if len(data) > min(limits.bytes, MARKUP * limits.text):
        raise Refused(f"{len(data):,} bytes of markup, limit {min(limits.bytes, MARKUP * limits.text):,}")
    markup, notes = (data, []) if isinstance(data, str) else _decoded(data)
    if "\0" in markup or re.search("[\ud800-\udfff]", markup):
        raise Refused("holds NUL characters or lone surrogates: not HTML")
    if not (first := re.search("<[a-zA-Z]", markup)):
        raise Refused("holds no tags: not HTML")
    if re.search("<!ENTITY", markup[: first.start()], re.IGNORECASE):
        raise Refused("declares entities, which are not expanded")
    _tame(markup, limits)
    return markup, notes


def _decoded(data: bytes) -> tuple[str, list[str]]:
    """By its byte order mark; else as UTF-8 where it is that; else as it declares; else as windows-1252."""
    for mark, codec in _BOMS.items():
        if data.startswith(mark):
            return _lossy(data[len(mark) :], codec)
    found = _XML_CHARSET.search(data[:1024]) or _CHARSET.search(data[:4096])
    label = found[1].decode("ascii", "replace").lower() if found else ""
    declared = _CODECS.get(label, "")
    if declared == "iso-2022-jp" and data.isascii():
        return _lossy(data, declared)
    try:
        other = label and declared != "utf-8" and not data.isascii()
        return data.decode("utf-8"), [f"declared as {label}, is UTF-8"] if other else []
    except UnicodeDecodeError:
        if declared not in ("", "utf-8"):
            return _lossy(data, declared)
    guess, notes = _lossy(data, "utf-8")
    if 10 * guess.count("\ufffd") < sum(not c.isascii() for c in guess):
        return guess, notes
    said = f"declared as {label}" if label else "no charset"
    return data.decode("cp1252", "replace"), [f"{said}, is not UTF-8, read as windows-1252"]


def _lossy(data: bytes, codec: str) -> tuple[str, list[str]]:
    markup = data.decode(codec, "replace")
    lost = markup.count("\ufffd") - (data.count(b"\xef\xbf\xbd") if codec == "utf-8" else 0)
    return markup, [f"{lost} characters are not {codec.upper()}"] if lost > 0 else []


def _tame(markup: str, limits: Limits) -> None:
    """Refuses what costs an HTML5 parser quadratic time or room, in one pass over the tags: many attributes, deep
    nesting, and formatting left open, all of which each later paragraph repeats (HTML standard, 13.2.4.3)."""
    at = tags = depth = repeated = left_open = 0
    opened: Counter[str] = Counter()
    formatting: dict[str, list[str]] = {name: [] for name in _FORMATTING}
    while found := _TAG.search(markup, at):
        name = (found[2] or "").lower()
        at = _tag_end(markup, found.end()) if name else _after(markup, "-->", found.start() + 2)
        same = formatting.get(name, [])
        if found[1]:
            depth -= opened[name] > 0
            opened[name] -= opened[name] > 0
            left_open -= len(same[-1:])
            del same[-1:]
        elif name in _FORMATTING:
            look = markup[found.end() : at]
            if same and (name in ("a", "nobr") or same.count(look) == 3):  # these end the one before them
                same.pop()
                left_open -= 1
            same.append(look)
            left_open += 1
        elif name in _RAW:
            at = _after(markup, f"</{name}", at)
        elif name and name not in _NOT_NESTED and (name in _BLOCKS or not markup.startswith("/>", at)):
            depth += 1
            opened[name] += 1
        tags += bool(name)
        repeated += left_open * (name not in _FORMATTING)
        if left_open > limits.depth or depth > OPEN * limits.depth:
            raise Refused(f"nested deeper than {limits.depth}")
        if tags + repeated > ELEMENTS:
            raise Refused(f"more than {ELEMENTS:,} elements")


def _tag_end(markup: str, at: int) -> int:
    """Where the attributes of a tag end, read as the standard reads them (13.2.5.32 to 13.2.5.40)."""
    for _ in range(ATTRIBUTES + 1):
        if not (attribute := _ATTRIBUTE.match(markup, at)):
            return at
        at = attribute.end()
    raise Refused(f"a tag of more than {ATTRIBUTES:,} attributes")


def _after(markup: str, mark: str, at: int) -> int:
    """Behind the next `mark`, in capitals or not; the end where there is none."""
    found = re.compile(re.escape(mark), re.IGNORECASE).search(markup, at)
    return found.end() if found else len(markup)
