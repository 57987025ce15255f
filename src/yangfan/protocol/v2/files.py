"""`/v2/files`: files to work on, such as the requests of a batch, in OpenAI's shapes (specification C.5).

https://developers.openai.com/api/reference/resources/files
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec
from msgspec import UNSET, UnsetType

from yangfan.protocol.endpoint import Endpoint

Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
"""What a caller may say that a file is for; results of a batch are ``batch_output``."""

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)

MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_LISTED = 10_000


class File(msgspec.Struct, kw_only=True):
    """A file without its content."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | UnsetType = UNSET
    filename: str
    purpose: str
    status: Literal["uploaded", "processed", "error"] = "processed"


class FileList(msgspec.Struct, kw_only=True):
    """A page of files; `last_id` is the `after` of the next one."""

    object: Literal["list"] = "list"
    data: list[File]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False


class DeletedFile(msgspec.Struct, kw_only=True):
    """That a file is gone."""

    id: str
    object: Literal["file"] = "file"
    deleted: bool = True


CREATE: Endpoint[bytes, File] = Endpoint(
    name="v2.files.create",
    dialect="v2",
    method="POST",
    path="/v2/files",
    aliases=("/v1/files", "/v2/v1/files"),
    request=bytes,
    reply=File,
    summary="Upload a file: multipart/form-data with `purpose` and `file`, if wanted `expires_after`.",
    summary_zh="上传文件：multipart/form-data，字段为 purpose 和 file，可选 expires_after。",
    spec="C.5",
)
LIST = Endpoint[None, FileList](
    name="v2.files.list",
    dialect="v2",
    method="GET",
    path="/v2/files",
    aliases=("/v1/files", "/v2/v1/files"),
    request=None,
    reply=FileList,
    summary="List files: `purpose`, `limit`, `after` and `order` in the query.",
    summary_zh="查询文件列表，查询参数为 purpose、limit、after、order。",
    spec="C.5",
)
SHOW = Endpoint[None, File](
    name="v2.files.retrieve",
    dialect="v2",
    method="GET",
    path="/v2/files/{file_id}",
    aliases=("/v1/files/{file_id}", "/v2/v1/files/{file_id}"),
    request=None,
    reply=File,
    summary="Show a file without its content.",
    summary_zh="查询文件信息。",
    spec="C.5",
)
CONTENT: Endpoint[None, bytes] = Endpoint(
    name="v2.files.content",
    dialect="v2",
    method="GET",
    path="/v2/files/{file_id}/content",
    aliases=("/v1/files/{file_id}/content", "/v2/v1/files/{file_id}/content"),
    request=None,
    reply=bytes,
    summary="Download a file's content, as it was sent.",
    summary_zh="下载文件内容。",
    spec="C.5",
)
DELETE = Endpoint[None, DeletedFile](
    name="v2.files.delete",
    dialect="v2",
    method="DELETE",
    path="/v2/files/{file_id}",
    aliases=("/v1/files/{file_id}", "/v2/v1/files/{file_id}"),
    request=None,
    reply=DeletedFile,
    summary="Delete a file.",
    summary_zh="删除文件。",
    spec="C.5",
)
