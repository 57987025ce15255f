"""Documents of every kind, real ones made by other libraries, and hostile ones: read, or refused with a reason, never a crash."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import docx
import pptx
import pytest
import xlsxwriter  # pyright: ignore[reportMissingTypeStubs]

from yangfan.errors import Invalid
from yangfan.plugins.knowledge_base.blocks import Block
from yangfan.plugins.knowledge_base.parsing import ENDINGS, Parser, reader_of


@pytest.fixture(scope="module")
def parser() -> Generator[Parser]:
    with Parser() as parser:
        yield parser


def blocks_of(parser: Parser, tmp_path: Path, name: str, content: bytes | str) -> list[Block]:
    path = tmp_path / "content"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return parser.blocks(path, name)


def test_word(parser: Parser, tmp_path: Path) -> None:
    document = docx.Document()
    document.add_heading("员工手册", 0)
    document.add_heading("休假", 1)
    document.add_paragraph("每位员工每年有十五天年假。")
    table = document.add_table(rows=2, cols=2)
    for row, cells in zip(table.rows, (("级别", "天数"), ("经理", "20")), strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    document.add_heading("Travel", 2)
    document.add_paragraph("Economy class only.")
    document.save(str(tmp_path / "a.docx"))
    assert parser.blocks(tmp_path / "a.docx", "a.docx") == [
        Block("heading", "员工手册", 1),
        Block("heading", "休假", 1),
        Block("text", "每位员工每年有十五天年假。"),
        Block("table", "| 级别 | 天数 |\n| --- | --- |\n| 经理 | 20 |"),
        Block("heading", "Travel", 2),
        Block("text", "Economy class only."),
    ]


def test_presentation(parser: Parser, tmp_path: Path) -> None:
    deck = pptx.Presentation()
    for title, text in (("概览", "增长百分之五"), ("Plans", "Ship it")):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        assert slide.shapes.title is not None
        slide.shapes.title.text = title
        slide.placeholders[1].text = text  # pyright: ignore[reportAttributeAccessIssue]
    slide.notes_slide.notes_text_frame.text = "say it slowly"  # pyright: ignore[reportOptionalMemberAccess,reportPossiblyUnbound]
    deck.save(str(tmp_path / "a.pptx"))
    assert parser.blocks(tmp_path / "a.pptx", "a.pptx") == [
        Block("heading", "概览", 1, 1),
        Block("text", "增长百分之五", 0, 1),
        Block("heading", "Plans", 1, 2),
        Block("text", "Ship it", 0, 2),
        Block("text", "say it slowly", 0, 2),
    ]


def test_workbook(parser: Parser, tmp_path: Path) -> None:
    with xlsxwriter.Workbook(str(tmp_path / "a.xlsx")) as book:
        sheet: Any = book.add_worksheet("价格")  # pyright: ignore[reportUnknownMemberType]
        for row, cells in enumerate((("商品", "价格"), ("苹果", 3), ("梨", 2.5))):
            sheet.write_row(row, 0, cells)
    assert parser.blocks(tmp_path / "a.xlsx", "a.xlsx") == [
        Block("heading", "价格", 1, 1),
        Block("table", "| 商品 | 价格 |\n| --- | --- |\n| 苹果 | 3 |\n| 梨 | 2.5 |", 0, 1),
    ]


def test_texts(parser: Parser, tmp_path: Path) -> None:
    markdown = "---\nx: 1\n---\n# 一\n\ntext\nmore\n\nTitle\n=====\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\n# no heading\n```\n"
    assert blocks_of(parser, tmp_path, "a.md", markdown) == [
        Block("heading", "一", 1),
        Block("text", "text\nmore"),
        Block("heading", "Title", 1),
        Block("table", "| a | b |\n|---|---|\n| 1 | 2 |"),
        Block("text", "```\n# no heading\n```"),
    ]
    html = (
        "<html><head><title>t</title><script>evil()</script></head><body><nav>menu</nav><h2>标题</h2><p>一段 <b>话</b></p>"
        "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table><ul><li>x</li></ul></body></html>"
    )
    assert blocks_of(parser, tmp_path, "a.html", html) == [
        Block("heading", "标题", 2),
        Block("text", "一段 话"),
        Block("table", "| a | b |\n| --- | --- |\n| 1 | 2 |"),
        Block("text", "- x"),
    ]
    assert blocks_of(parser, tmp_path, "a.csv", "名称;价\n苹果;3\n") == [
        Block("table", "| 名称 | 价 |\n| --- | --- |\n| 苹果 | 3 |")
    ]
    assert blocks_of(
        parser, tmp_path, "a.txt", "第一章 总则\n内容在此。\n\n1.2 Scope\nAll of it."
    ) == [
        Block("heading", "第一章 总则", 1),
        Block("text", "内容在此。"),
        Block("heading", "1.2 Scope", 2),
        Block("text", "All of it."),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gbk", "gb18030"])
def test_encodings(parser: Parser, tmp_path: Path, encoding: str) -> None:
    text = "知识库里的文字要读得出来。"
    assert blocks_of(parser, tmp_path, "a.txt", text.encode(encoding)) == [Block("text", text)]


def pdf(*lines: tuple[int, int, str]) -> bytes:
    """A PDF of one page: size, height on the page, text of each line."""
    content = "".join(
        f"BT /F1 {size} Tf 72 {y} Td ({text}) Tj ET\n" for size, y, text in lines
    ).encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out = io.BytesIO(b"%PDF-1.4\n")
    out.seek(0, os.SEEK_END)
    places: list[int] = []
    for number, body in enumerate(objects, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.writelines(b"%010d 00000 n \n" % place for place in places)
    out.write(b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start))
    return out.getvalue()


def test_pdf(parser: Parser, tmp_path: Path) -> None:
    content = pdf(
        (24, 700, "Annual Report"),
        (11, 660, "Revenue grew by five per-"),
        (11, 646, "cent in the last year."),
        (11, 600, "Costs fell."),
    )
    assert blocks_of(parser, tmp_path, "a.pdf", content) == [
        Block("heading", "Annual Report", 1, 1),
        Block("text", "Revenue grew by five percent in the last year.", 0, 1),
        Block("text", "Costs fell.", 0, 1),
    ]


def office(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in members.items():
            package.writestr(name.replace("__", "/").replace("_xml", ".xml"), content)
    return out.getvalue()


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b"]><w:document xmlns:w='w'><w:body><w:p><w:r><w:t>&j;</w:t></w:r></w:p></w:body></w:document>"
)
NESTED = (
    b"<w:document xmlns:w='w'><w:body>"
    + b"<w:sdt>" * 50_000
    + b"</w:sdt>" * 50_000
    + b"</w:body></w:document>"
)
HOSTILE: dict[str, tuple[str, bytes, str]] = {
    "laughs": ("a.docx", office(word__document_xml=LAUGHS), "declares entities"),
    "nested": ("a.docx", office(word__document_xml=NESTED), "nested deeper|broken"),
    "bomb": ("a.docx", office(word__document_xml=b"<a>" + b" " * 200_000_000), "unpacks to more"),
    "sheet bomb": ("a.xlsx", office(xl__worksheets__sheet1_xml=b" " * 300_000_000), "unpacks to"),
    "no zip": ("a.docx", b"PK\x03\x04 nothing", "no Office document"),
    "no body": ("a.docx", office(word__other_xml=b"<a/>"), "no Word document"),
    "no slides": ("a.pptx", office(a_xml=b"<a/>"), "no presentation"),
    "no book": ("a.xlsx", b"nonsense", "no workbook"),
    "broken xml": ("a.docx", office(word__document_xml=b"<w:document"), "broken"),
    "no pdf": ("a.pdf", b"%PDF-1.7\n" + os.urandom(4000), "no PDF"),
    "cut pdf": ("a.pdf", pdf((11, 700, "x"))[:120], "no PDF|no text"),
    "empty pdf": ("a.pdf", pdf(), "no text, only pictures"),
    "binary": ("a.txt", bytes(range(32)) * 100, "holds no text|neither UTF-8"),
    "utf-16 cut": ("a.txt", b"\xff\xfea", "neither UTF-8"),
    "empty": ("a.txt", b" \n", "no text"),
    "quote": ("a.csv", b'a,b\n"' + b"x" * 2_000_000, "quote that is not closed"),
    "deep html": ("a.html", b"<div>" * 200_000, "no text"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_documents_are_refused_with_a_reason(
    parser: Parser, tmp_path: Path, case: str
) -> None:
    name, content, reason = HOSTILE[case]
    with pytest.raises(Invalid, match=reason):
        blocks_of(parser, tmp_path, name, content)
    assert blocks_of(parser, tmp_path, "a.txt", "still there") == [Block("text", "still there")]


def test_macros_and_what_is_packed_inside_are_not_looked_at(parser: Parser, tmp_path: Path) -> None:
    space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    text = f"<w:document xmlns:w='{space}'><w:body><w:p><w:r><w:t>Only this.</w:t></w:r></w:p></w:body></w:document>"
    inner = office(bomb=b"0" * 50_000_000)
    content = office(
        word__document_xml=text.encode(),
        word__vbaProject=b'Sub AutoOpen()\nShell "touch /tmp/owned"\nEnd Sub',
        word__embeddings__inner=inner,
    )
    assert blocks_of(parser, tmp_path, "a.docx", content) == [Block("text", "Only this.")]
    page = (
        "<p>Only this.</p><script>while(true){}</script><iframe src='file:///etc/passwd'></iframe>"
    )
    assert blocks_of(parser, tmp_path, "a.html", page) == [Block("text", "Only this.")]


def test_a_file_that_takes_all_memory_or_for_ever_costs_only_its_process(tmp_path: Path) -> None:
    with Parser(seconds=20.0, memory_bytes=256 << 20) as small:
        wide = "字".encode() * (20 << 20)
        with pytest.raises(Invalid, match=r"needed more than 256 MiB|cannot be read"):
            blocks_of(small, tmp_path, "a.txt", wide)
        assert blocks_of(small, tmp_path, "a.txt", "still there")
    with (
        Parser(seconds=0.01) as hurried,
        pytest.raises(Invalid, match=r"longer than 0\.01 seconds"),
    ):
        blocks_of(hurried, tmp_path, "a.html", b"<p>x</p>" * 100_000)


@pytest.mark.parametrize("name", ["a", "a.exe", "a.docm.zip", "", ".doc", "a.PDF "])
def test_other_kinds_are_refused(name: str) -> None:
    with pytest.raises(Invalid, match="must end in one of csv, docx"):
        reader_of(name)
    assert set(ENDINGS.values()) >= {"pdf", "docx", "pptx", "xlsx", "html", "md", "txt", "csv"}
