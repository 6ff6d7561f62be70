"""Every operator that asks Kling for something, by its public name; each family stands in a module of its own.

A family is imported when one of its operators is: the DAG processor parses each file in a new process, and a file
needs one or two of them.
"""
# ruff: noqa: PLC0414 - an import by its own name is an export, for type checkers

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kling_provider.operators.audio import KlingTextToAudioOperator as KlingTextToAudioOperator
    from kling_provider.operators.audio import KlingTextToSpeechOperator as KlingTextToSpeechOperator
    from kling_provider.operators.audio import KlingVideoToAudioOperator as KlingVideoToAudioOperator
    from kling_provider.operators.avatar import KlingAvatarOperator as KlingAvatarOperator
    from kling_provider.operators.effects import KlingEffectsOperator as KlingEffectsOperator
    from kling_provider.operators.general import KlingCustomElementOperator as KlingCustomElementOperator
    from kling_provider.operators.general import KlingCustomVoiceOperator as KlingCustomVoiceOperator
    from kling_provider.operators.general import KlingDeleteElementOperator as KlingDeleteElementOperator
    from kling_provider.operators.general import KlingDeleteVoiceOperator as KlingDeleteVoiceOperator
    from kling_provider.operators.general import KlingMultiShotOperator as KlingMultiShotOperator
    from kling_provider.operators.images import KlingImageExpandOperator as KlingImageExpandOperator
    from kling_provider.operators.images import KlingImageOperator as KlingImageOperator
    from kling_provider.operators.images import KlingImageRecognizeOperator as KlingImageRecognizeOperator
    from kling_provider.operators.images import (
        KlingMultiImageToImageOperator as KlingMultiImageToImageOperator,
    )
    from kling_provider.operators.images import KlingOmniImageOperator as KlingOmniImageOperator
    from kling_provider.operators.images import KlingVirtualTryOnOperator as KlingVirtualTryOnOperator
    from kling_provider.operators.lip_sync import KlingAdvancedLipSyncOperator as KlingAdvancedLipSyncOperator
    from kling_provider.operators.lip_sync import KlingIdentifyFaceOperator as KlingIdentifyFaceOperator
    from kling_provider.operators.lip_sync import KlingLipSyncOperator as KlingLipSyncOperator
    from kling_provider.operators.motion import KlingMotionControlOperator as KlingMotionControlOperator
    from kling_provider.operators.multi_elements import KlingAddSelectionOperator as KlingAddSelectionOperator
    from kling_provider.operators.multi_elements import (
        KlingClearSelectionOperator as KlingClearSelectionOperator,
    )
    from kling_provider.operators.multi_elements import (
        KlingDeleteSelectionOperator as KlingDeleteSelectionOperator,
    )
    from kling_provider.operators.multi_elements import (
        KlingInitSelectionOperator as KlingInitSelectionOperator,
    )
    from kling_provider.operators.multi_elements import (
        KlingMultiElementsOperator as KlingMultiElementsOperator,
    )
    from kling_provider.operators.multi_elements import (
        KlingPreviewSelectionOperator as KlingPreviewSelectionOperator,
    )
    from kling_provider.operators.omni import KlingOmniVideoOperator as KlingOmniVideoOperator
    from kling_provider.operators.reading import KlingReadOperator as KlingReadOperator
    from kling_provider.operators.submit import KlingSubmitOperator as KlingSubmitOperator
    from kling_provider.operators.video import KlingImageToVideoOperator as KlingImageToVideoOperator
    from kling_provider.operators.video import (
        KlingMultiImageToVideoOperator as KlingMultiImageToVideoOperator,
    )
    from kling_provider.operators.video import KlingTextToVideoOperator as KlingTextToVideoOperator
    from kling_provider.operators.video import KlingVideoExtendOperator as KlingVideoExtendOperator

#: Operator -> module of its family.
_FAMILIES = {
    "KlingAddSelectionOperator": "multi_elements",
    "KlingAdvancedLipSyncOperator": "lip_sync",
    "KlingAvatarOperator": "avatar",
    "KlingClearSelectionOperator": "multi_elements",
    "KlingCustomElementOperator": "general",
    "KlingCustomVoiceOperator": "general",
    "KlingDeleteElementOperator": "general",
    "KlingDeleteSelectionOperator": "multi_elements",
    "KlingDeleteVoiceOperator": "general",
    "KlingEffectsOperator": "effects",
    "KlingIdentifyFaceOperator": "lip_sync",
    "KlingImageExpandOperator": "images",
    "KlingImageOperator": "images",
    "KlingImageRecognizeOperator": "images",
    "KlingImageToVideoOperator": "video",
    "KlingInitSelectionOperator": "multi_elements",
    "KlingLipSyncOperator": "lip_sync",
    "KlingMotionControlOperator": "motion",
    "KlingMultiElementsOperator": "multi_elements",
    "KlingMultiImageToImageOperator": "images",
    "KlingMultiImageToVideoOperator": "video",
    "KlingMultiShotOperator": "general",
    "KlingOmniImageOperator": "images",
    "KlingOmniVideoOperator": "omni",
    "KlingPreviewSelectionOperator": "multi_elements",
    "KlingReadOperator": "reading",
    "KlingSubmitOperator": "submit",
    "KlingTextToAudioOperator": "audio",
    "KlingTextToSpeechOperator": "audio",
    "KlingTextToVideoOperator": "video",
    "KlingVideoExtendOperator": "video",
    "KlingVideoToAudioOperator": "audio",
    "KlingVirtualTryOnOperator": "images",
}
__all__ = list(_FAMILIES)


def __getattr__(name: str) -> Any:
    """Import an operator's family."""
    if name not in _FAMILIES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"kling_provider.operators.{_FAMILIES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_FAMILIES})
