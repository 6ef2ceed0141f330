r"""Text with $...$ formulas as HTML: prose escaped, formulas as MathML that every current browser lays out itself.

latex2mathml does the translation. Before it, the LaTeX is normalised where it has gaps; after it, the tree is mended to
what MathML Core knows: alphabets become characters, relations become operators, function names get the thin spaces that
TeX gives them, and a long formula becomes several `<math>` elements, so that a narrow screen can break its line.
A formula that cannot be translated stands as its source, in `<code>`.
"""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from functools import cache

from latex2mathml.converter import convert
from markupsafe import Markup, escape

__all__ = ["formula", "render", "render_plain"]

NAMESPACE = "http://www.w3.org/1998/Math/MathML"
THIN = "0.167em"

# Delimiters with a side, carried through the translation as private characters.
SIDED = {
    r"\lVert": "\ue000", r"\rVert": "\ue001", r"\lvert": "\ue002", r"\rvert": "\ue003",
    r"\lfloor": "\ue004", r"\rfloor": "\ue005", r"\lceil": "\ue006", r"\rceil": "\ue007",
    r"\langle": "\ue008", r"\rangle": "\ue009",
}  # fmt: skip
SHOWN = dict(zip(SIDED.values(), "‖‖||⌊⌋⌈⌉⟨⟩", strict=True))
OPENING = set("([{⌊⌈⟨")
CLOSING = set(")]}⌋⌉⟩")
PLAIN = {"tau": "τ", "eta": "η", "gamma": "γ", "pi": "π", "rho": "ρ", "theta": "θ", "phi": "φ", "inf": "∞"}
RELATIONS = set("=≤≥<>≠≈∼∝→←⟺⟹⟸∈∉≔≪≫≡↦") | {"⇔", "⇒"}
# What the translation leaves as identifiers although they are operators.
OPERATORS = {"~": "∼", "‖": "‖", "⟺": "⟺", "⟹": "⟹", "⟸": "⟸", ":": ":", "⧵": "∖", "*": "∗"}
ORDINARY = set("∞∇∂∀∃∅")  # no operators, whatever the translation says: they take no space
WORDS = "KL|TV|ECPO|PMD|MPO|old|new|soft|hard|sampled|max|min|opt|ref"
SCRIPTS = {"msub", "msup", "msubsup", "munder", "mover", "munderover"}
LETTERLIKE = {"scriptB": "ℬ", "scriptE": "ℰ", "scriptF": "ℱ", "scriptH": "ℋ", "scriptI": "ℐ", "scriptL": "ℒ",
              "scriptM": "ℳ", "scriptR": "ℛ", "double-struckC": "ℂ", "double-struckN": "ℕ", "double-struckP": "ℙ",
              "double-struckQ": "ℚ", "double-struckR": "ℝ", "double-struckZ": "ℤ", "double-struck1": "𝟙"}  # fmt: skip
ALPHABETS = {
    ("script", "A"): 0x1D49C, ("script", "a"): 0x1D4B6, ("double-struck", "A"): 0x1D538,
    ("double-struck", "a"): 0x1D552, ("bold", "A"): 0x1D400, ("bold", "a"): 0x1D41A, ("bold", "0"): 0x1D7CE,
    ("bold-italic", "A"): 0x1D468, ("bold-italic", "a"): 0x1D482, ("double-struck", "0"): 0x1D7D8,
}  # fmt: skip


def render(text: str) -> Markup:
    r"""Return the HTML of a text: $...$ segments as MathML, `...` as code, everything else escaped.

    `\$` is a dollar sign; an unpaired $ is left as it stands.
    """
    parts = re.split(r"(?<!\\)\$([^$]+)(?<!\\)\$", text)
    html = [formula(part) if index % 2 else _prose(part) for index, part in enumerate(parts)]
    return Markup("").join(html)


def render_plain(text: str) -> Markup:
    """Return the HTML of a text written for terminals: tau' >= 0 becomes τ′ ≥ 0; otherwise as `render`."""
    parts = re.split(r"((?<!\\)\$[^$]+(?<!\\)\$|`[^`]+`)", text)
    return render("".join(part if index % 2 else _with_symbols(part) for index, part in enumerate(parts)))


def _with_symbols(text: str) -> str:
    text = re.sub(r"\bpi_theta\b", r"$\\pi_\\theta$", text)
    text = re.sub(rf"(?<![A-Za-z\\])({'|'.join(PLAIN)})(?![A-Za-z])", lambda match: PLAIN[match.group(1)], text)
    text = re.sub("(?<=[α-ω])'", "′", text)
    for ascii_form, character in ((">=", "≥"), ("<=", "≤"), (" || ", " ‖ "), (" * ", " · ")):
        text = text.replace(ascii_form, character)
    return text


@cache
def formula(latex: str) -> Markup:
    """Return one formula as inline MathML; its source in `<code>` where it cannot be translated."""
    try:
        root = ET.fromstring(convert(_normalised(latex)))
    except Exception:  # the translator raises many kinds on malformed LaTeX, all of them meaning the same here
        return _source(latex)
    tree = _without_namespace(root)
    if "\\" in "".join(tree.itertext()):
        return _source(latex)
    _mend(tree, in_script=False)
    return Markup("".join(_serialised(chunk) for chunk in _chunks(list(tree))))


def _prose(text: str) -> Markup:
    parts = re.split(r"`([^`]+)`", text.replace(r"\$", "$"))
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(parts))


def _source(latex: str) -> Markup:
    return Markup('<code class="tex">{}</code>').format(latex.strip())


def _normalised(latex: str) -> str:
    latex = re.sub(r"\\(left|right)\s*\\[lr]?vert(?![A-Za-z])", r"\\\1|", latex)
    latex = re.sub(r"\\arg(?![A-Za-z])\s*", r"\\mathrm{arg}\\,", latex)
    latex = re.sub(rf"_\{{({WORDS})\}}", r"_{\\mathrm{\1}}", latex)
    latex = re.sub(r"\\mathrm\s*\{([A-Za-z]+)\}", r"\\text{\1}", latex)
    for command, character in SIDED.items():
        latex = re.sub(rf"(?<!\\left)(?<!\\right){re.escape(command)}(?![A-Za-z])", character, latex)
    return latex


def _without_namespace(root: ET.Element) -> ET.Element:
    for element in root.iter():
        element.tag = element.tag.partition("}")[2] or element.tag
    row = root[0] if len(root) == 1 and root[0].tag == "mrow" else root
    return row


def _mend(element: ET.Element, *, in_script: bool) -> None:
    """Mend one element and what is below it, in place."""
    _mend_token(element, in_script)
    for position, child in enumerate(list(element)):
        _mend(child, in_script=in_script or (element.tag in SCRIPTS and position > 0))
    if element.tag == "mover" and len(element) == 2 and element[1].tag == "mo":
        # As an accent a bar is drawn inside its letter by fonts without a table of accents, and cannot be seen.
        element.attrib = {}
        element[1].attrib = {"stretchy": "false"}
    if element.tag in {"msup", "msubsup"} and element[-1].text == "′":
        _flatten_prime(element)
    if element.tag in {"mrow", "math"}:
        _space_functions(element)


def _flatten_prime(element: ET.Element) -> None:
    """Set a prime beside its letter at full size: raised once more, it is too small to read in fractions."""
    base, prime = element[0], element[-1]
    prime.tag, prime.attrib = "mo", {"lspace": "0", "rspace": "0"}
    if element.tag == "msup":
        element.tag = "mrow"
    else:
        element.tag = "msub"
        element.remove(prime)
        element.remove(base)
        row = ET.Element("mrow")
        row.extend([base, prime])
        element.insert(0, row)


def _mend_token(element: ET.Element, in_script: bool) -> None:
    text = (element.text or "").strip("\n ")
    if element.tag == "mtext" and text.isalpha():
        element.tag = "mi"
        element.attrib = {"mathvariant": "normal"} if len(text) == 1 else {}
    elif element.tag == "mo" and text.replace("\u2006", "").isalpha() and text.isascii():
        element.tag, element.attrib = "mi", {}
    elif element.tag in {"mi", "mn"} and element.get("mathvariant"):
        _as_character(element, text)
    if element.tag == "mi" and text in OPERATORS:
        element.tag, element.text, element.attrib = "mo", OPERATORS[text], {}
        if text == "‖":
            element.attrib = {"form": "infix", "lspace": "0.2em", "rspace": "0.2em", "stretchy": "false"}
    elif text in SHOWN:
        form = "prefix" if ord(text) % 2 == 0 else "postfix"
        element.tag, element.text = "mo", SHOWN[text]
        element.attrib = {"form": form, "fence": "true", "stretchy": "false"}
    if text in ORDINARY or (element.tag == "mi" and len(text) == 1 and "Α" <= text <= "Ω"):
        element.tag, element.attrib = "mi", {"mathvariant": "normal"}
    elif element.tag == "mo" and text == "/":
        element.attrib = {"lspace": "0.05em", "rspace": "0.05em", "stretchy": "false"}
    if element.tag == "mo" and in_script and (element.text or "") in RELATIONS | {"+", "−", "∣", ","}:
        element.attrib.update(lspace="0.06em", rspace="0.06em")


def _as_character(element: ET.Element, text: str) -> None:
    """Replace an alphabet that MathML Core does not know by the characters of that alphabet."""
    variant = element.get("mathvariant", "")
    if variant == "normal" or len(text) != 1:
        return
    start = "A" if text.isupper() else "a" if text.islower() else "0"
    code = ALPHABETS.get((variant, start))
    if text.isascii() and code is not None:
        element.text = LETTERLIKE.get(variant + text) or chr(code + ord(text) - ord(start))
        element.attrib.pop("mathvariant")


def _core(element: ET.Element) -> ET.Element:
    """Return the base of a scripted element, itself otherwise."""
    while (element.tag in SCRIPTS or _is_primed(element)) and len(element):
        element = element[0]
    return element


def _is_primed(element: ET.Element) -> bool:
    return element.tag == "mrow" and len(element) == 2 and element[1].text == "′"


def _is_function(element: ET.Element) -> bool:
    core = _core(element)
    text = core.text or ""
    return core.tag == "mi" and len(text) > 1 and text.replace("\u2006", "").isalpha()


def _space_functions(row: ET.Element) -> None:
    """Give function names (log, exp, max) a thin space on each side that has an operand."""
    children = list(row)
    for before, after in itertools.pairwise(children):
        here, there = _core(before), _core(after)
        if _is_function(before):
            opens = there.tag in {"mo", "mspace"} or (there.tag == "mrow" and _opens_with_fence(there))
            wanted = not opens or there.text in SHOWN.values()
        elif _is_function(after):
            wanted = here.tag not in {"mo", "mspace"} or (here.text or "") in CLOSING
        else:
            wanted = False
        if wanted:
            row.insert(list(row).index(after), ET.Element("mspace", width=THIN))


def _opens_with_fence(row: ET.Element) -> bool:
    return len(row) > 0 and row[0].tag == "mo"


def _chunks(children: list[ET.Element]) -> list[list[ET.Element]]:
    """Cut a formula before the relations, sums and differences that stand outside every bracket."""
    chunks: list[list[ET.Element]] = [[]]
    depth = 0
    for child in children:
        text = child.text or "" if child.tag == "mo" else ""
        previous = chunks[-1][-1] if chunks[-1] else None
        after_operand = previous is not None and (previous.tag != "mo" or (previous.text or "") in CLOSING)
        if depth == 0 and after_operand and text in RELATIONS | {"+", "−"} and len(chunks[-1]) > 1:
            child.set("form", "infix")
            chunks.append([])
        core = _core(child)
        if core.tag == "mo" and child.get("form") != "infix":
            bracket = core.text or ""
            depth += (bracket in OPENING) - (bracket in CLOSING)
        chunks[-1].append(child)
    return chunks


def _serialised(children: list[ET.Element]) -> str:
    math = ET.Element("math", xmlns=NAMESPACE)
    row = ET.SubElement(math, "mrow")
    row.extend(children)
    return ET.tostring(math, encoding="unicode")
