"""What Kling answers when it says no: code, HTTP status and text."""

from __future__ import annotations

from collections.abc import Mapping

from kling_provider.api.errors import KLING_CODES

NOT_FOUND = "Task not found"
WRONG_PICTURE = "The resolution or aspect ratio of the input image is invalid"
NOT_BASE64 = "File is not in a valid base64 format"
UNKNOWN_MODEL = "model is not supported"

#: What the vendor's Chinese pages call it, for the setting ``localised_messages``.
_CHINESE: Mapping[int, str] = {
    1000: "身份验证失败",
    1001: "Authorization为空",
    1002: "Authorization值非法",
    1003: "Authorization未到有效时间",
    1004: "Authorization已失效",
    1102: "资源包已用完/已过期",
    1103: "请求的资源无权限",
    1200: "请求参数非法",
    1201: "参数非法",
    1202: "请求的method无效",
    1203: "请求的资源不存在",
    1302: "API请求过快,超过平台速率限制",
    1303: "并发或QPS超出预付费资源包限制",
    5000: "服务器内部错误",
}
_CHINESE_TEXTS = {NOT_FOUND: "任务不存在", "already exists": "外部任务ID已存在"}


class Refusal(Exception):
    """Kling says no.

    :param code: Kling's code.
    :param message: its text.
    """

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def http_status(self) -> int:
        """The HTTP status that goes with the code."""
        return http_status_for(self.code)

    def localised(self) -> str:
        """The same in Chinese."""
        for english, chinese in _CHINESE_TEXTS.items():
            if english in self.message:
                return chinese
        return _CHINESE.get(self.code, "请求失败")


def http_status_for(code: int) -> int:
    """The HTTP status Kling documents for a code; 400 for one it does not know."""
    row = KLING_CODES.get(code)
    return row.http_status if row else 400


def duplicate(external_task_id: str) -> Refusal:
    """The id was used before."""
    return Refusal(1201, f"External_task_id {external_task_id} already exists")


def discontinued(model: str) -> Refusal:
    """The model is gone."""
    return Refusal(1201, f"The model '{model}' has been discontinued and is no longer available.")
