"""XML from elsewhere, as plain elements that know the line they began on (rule source.6).

It refuses document types and entities, which can read files and grow without end, and depth.
"""

from io import BytesIO
from typing import Final
from xml.sax import SAXException, handler  # nosec - only what defusedxml gives is parsed
from xml.sax.xmlreader import AttributesNSImpl, InputSource, Locator

import defusedxml.sax
from defusedxml.common import DefusedXmlException
from msgspec import Struct, field

from ddtp.encoding import kind_of
from ddtp.errors import MalformedError

MAX_DEPTH: Final = 64


class Element(Struct):
    """One element: its name without the namespace, where it began, what is in it."""

    name: str
    namespace: str
    line: int
    attributes: dict[str, str]
    children: "list[Element]" = field(default_factory=list)
    text: str = ""

    def find(self, path: str) -> "Element | None":
        """Return the first element at a path of names, "Acct/Id/IBAN"."""
        here = self
        for name in path.split("/"):
            found = next((each for each in here.children if each.name == name), None)
            if found is None:
                return None
            here = found
        return here

    def all(self, name: str) -> "list[Element]":
        """Return the children of one name."""
        return [each for each in self.children if each.name == name]

    def value(self, *paths: str) -> str:
        """Return the text at the first of the paths that is there, "" where none is."""
        for path in paths:
            found = self.find(path)
            if found is not None and found.text.strip():
                return found.text.strip()
        return ""


def parse(data: bytes, where: str) -> Element:
    """Return the root element of a document.

    Raises:
        MalformedError: source.6, with the line.
    """
    builder = _Builder()
    reader = defusedxml.sax.make_parser()
    reader.forbid_dtd = True
    reader.setFeature(handler.feature_namespaces, True)
    reader.setContentHandler(builder)
    source = InputSource()
    source.setByteStream(BytesIO(data))
    try:
        reader.parse(source)
    except (SAXException, DefusedXmlException, _TooDeepError, LookupError, ValueError) as error:
        raise MalformedError("source.6", f"{where}: {_reason(error, data)}") from error
    if builder.root is None:
        raise MalformedError("source.6", f"{where}: there is no element in it")
    return builder.root


class _TooDeepError(Exception):
    """Elements stand too deep within one another."""


class _Builder(handler.ContentHandler):
    def __init__(self) -> None:
        super().__init__()
        self.root: Element | None = None
        self._open: list[Element] = []
        self._texts: list[list[str]] = []
        self._locator: Locator | None = None

    def setDocumentLocator(self, locator: Locator) -> None:  # noqa: N802 - SAX's name
        self._locator = locator

    def startElementNS(  # noqa: N802 - SAX's name
        self, name: tuple[str | None, str], qname: str | None, attrs: AttributesNSImpl
    ) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise _TooDeepError
        line = (self._locator.getLineNumber() if self._locator is not None else None) or 0
        given = {key[1]: text for key, text in attrs.items()}
        element = Element(name[1], name[0] or "", line, given)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)
        self._texts.append([])

    def endElementNS(self, name: tuple[str | None, str], qname: str | None) -> None:  # noqa: N802 - SAX's name
        self._open.pop().text = "".join(self._texts.pop())

    def characters(self, content: str) -> None:
        # A text comes in as many pieces as it has lines: they are joined once.
        self._texts[-1].append(content)


def _reason(error: Exception, data: bytes) -> str:
    if isinstance(error, DefusedXmlException):
        return "a document type or an entity is declared in it, which is refused"
    if isinstance(error, _TooDeepError):
        return f"elements stand more than {MAX_DEPTH} deep"
    line = getattr(error, "getLineNumber", lambda: None)()
    if not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<", b"\xff\xfe", b"\xfe\xff")):
        return f"this is no XML, it looks like {kind_of(data)}"
    return f"line {line}: this is not well-formed XML" if line else "this is no XML that we read"
