"""What WeasyPrint leaves to be done for a file that is PDF/A-3a (ISO 19005-3) and PDF/UA-1 (ISO 14289-1) at once.

Applied to the objects of the file before they are written. Each repair names what it mends; the tests validate finished
files, so that one which WeasyPrint makes needless can go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pydyf
from weasyprint.pdf.stream import Stream as Drawing

if TYPE_CHECKING:
    from weasyprint.document import Document

VARIANT = "pdf/a-3a"
PX_TO_PT = 0.75

PDFUA = b"""<rdf:Description rdf:about="" xmlns:pdfuaid="http://www.aiim.org/pdfua/ns/id/">\
<pdfuaid:part>1</pdfuaid:part></rdf:Description>\
<rdf:Description rdf:about="" xmlns:pdfaExtension="http://www.aiim.org/pdfa/ns/extension/" \
xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#" xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#">\
<pdfaExtension:schemas><rdf:Bag><rdf:li rdf:parseType="Resource">\
<pdfaSchema:schema>PDF/UA identification schema</pdfaSchema:schema>\
<pdfaSchema:namespaceURI>http://www.aiim.org/pdfua/ns/id/</pdfaSchema:namespaceURI>\
<pdfaSchema:prefix>pdfuaid</pdfaSchema:prefix><pdfaSchema:property><rdf:Seq><rdf:li rdf:parseType="Resource">\
<pdfaProperty:name>part</pdfaProperty:name><pdfaProperty:valueType>Integer</pdfaProperty:valueType>\
<pdfaProperty:category>internal</pdfaProperty:category>\
<pdfaProperty:description>Part of the standard that the file follows</pdfaProperty:description>\
</rdf:li></rdf:Seq></pdfaSchema:property></rdf:li></rdf:Bag></pdfaExtension:schemas></rdf:Description>"""
"""Says that the file is PDF/UA-1, with the schema that PDF/A wants for words that are not its own."""


ENDS_SHORT = b"\r\nendstream"
"""End of a stream whose last byte reads as part of the line break behind it: it looks shorter than it says."""


def make_archival(document: Document, pdf: pydyf.PDF, *, n_spare: int = 0) -> None:  # noqa: ARG001 - a finisher
    """Finisher for ``weasyprint.Document.write_pdf`` with the variant `VARIANT`.

    So many spare objects, which nothing refers to, change the bytes of the stream that holds all objects.
    """
    for _ in range(n_spare):
        pdf.add_object(pydyf.Dictionary())
    if "AF" in pdf.catalog:  # each is named twice
        pdf.catalog["AF"] = pydyf.Array(dict.fromkeys(pdf.catalog["AF"]))
    ids: dict[bytes, tuple[Any, bytes]] = {}
    item: Any  # of several classes, which share no description of types
    for item in pdf.objects:
        if isinstance(item, pydyf.Stream):
            pdf.objects[item.number] = _Written(item)
        elif isinstance(item, pydyf.Dictionary) and item.get("Type") == "/StructElem":
            if item["S"] == "/TH":
                # A reader says the header of a column or row with each cell; WeasyPrint links them by name only.
                in_head = _at(pdf, _at(pdf, item["P"])["P"])["S"] == "/THead"
                item["A"]["Scope"] = "/Column" if in_head else "/Row"
            if "ID" in item:
                ids[item["ID"].data] = item["ID"], item.reference
            if item["S"] == "/Figure":
                _mend_box(item["A"], height=float(_at(pdf, item["Pg"])["MediaBox"][3]))
    if ids:  # names of cells are looked up here (ISO 32000-1, 14.7.2)
        names = pydyf.Array(part for name in sorted(ids) for part in ids[name])
        root = _at(pdf, pdf.catalog["StructTreeRoot"])
        root["IDTree"] = pydyf.Dictionary({"Names": names})


def _at(pdf: pydyf.PDF, reference: bytes | str) -> Any:  # noqa: ANN401 - an object of any kind
    return pdf.objects[int(reference.split()[0])]


def _mend_box(layout: dict[str, Any], *, height: float) -> None:
    """Where a picture stands, in points from the lower edge: WeasyPrint writes pixels from the upper one."""
    left, top, right, bottom = (PX_TO_PT * float(value) for value in layout["BBox"])
    layout["BBox"] = pydyf.Array((left, height - bottom, right, height - top))


class _Written(pydyf.Object):  # type: ignore[misc] # pydyf ships no annotations
    """A stream as it will stand in the file, put together and compressed once: pydyf would for each look at it."""

    compressible = False
    data = b""

    def __init__(self, stream: pydyf.Stream) -> None:
        super().__init__()
        self.number, self.generation, self.free = stream.number, stream.generation, stream.free
        if stream.extra.get("Type") == "/Metadata":
            stream.compress = False  # to be read by those who cannot read the rest
            stream.stream = [part.replace(b"</rdf:RDF>", PDFUA + b"</rdf:RDF>") for part in stream.stream]
        stream.extra.pop("Interpolate", None)  # forbidden, as it would show pixels that are not there
        self.data = stream.data
        if self.data.endswith(ENDS_SHORT):
            # Bytes that end so look shorter than they are. Drawing may end with a blank; other data stay as they were.
            if isinstance(stream, Drawing):
                stream.stream.append(b"")
            else:
                stream.compress = False
            self.data = stream.data
