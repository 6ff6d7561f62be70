"""Every operator that asks Kling for something, by its public name; each family stands in a module of its own."""

from __future__ import annotations

from kling_provider.operators.audio import (
    KlingTextToAudioOperator,
    KlingTextToSpeechOperator,
    KlingVideoToAudioOperator,
)
from kling_provider.operators.avatar import KlingAvatarOperator
from kling_provider.operators.effects import KlingEffectsOperator
from kling_provider.operators.general import (
    KlingCustomElementOperator,
    KlingCustomVoiceOperator,
    KlingDeleteElementOperator,
    KlingDeleteVoiceOperator,
    KlingMultiShotOperator,
)
from kling_provider.operators.images import (
    KlingImageExpandOperator,
    KlingImageOperator,
    KlingImageRecognizeOperator,
    KlingMultiImageToImageOperator,
    KlingOmniImageOperator,
    KlingVirtualTryOnOperator,
)
from kling_provider.operators.lip_sync import (
    KlingAdvancedLipSyncOperator,
    KlingIdentifyFaceOperator,
    KlingLipSyncOperator,
)
from kling_provider.operators.motion import KlingMotionControlOperator
from kling_provider.operators.multi_elements import (
    KlingAddSelectionOperator,
    KlingClearSelectionOperator,
    KlingDeleteSelectionOperator,
    KlingInitSelectionOperator,
    KlingMultiElementsOperator,
    KlingPreviewSelectionOperator,
)
from kling_provider.operators.omni import KlingOmniVideoOperator
from kling_provider.operators.reading import KlingReadOperator
from kling_provider.operators.submit import KlingSubmitOperator
from kling_provider.operators.video import (
    KlingImageToVideoOperator,
    KlingMultiImageToVideoOperator,
    KlingTextToVideoOperator,
    KlingVideoExtendOperator,
)

__all__ = [
    "KlingAddSelectionOperator",
    "KlingAdvancedLipSyncOperator",
    "KlingAvatarOperator",
    "KlingClearSelectionOperator",
    "KlingCustomElementOperator",
    "KlingCustomVoiceOperator",
    "KlingDeleteElementOperator",
    "KlingDeleteSelectionOperator",
    "KlingDeleteVoiceOperator",
    "KlingEffectsOperator",
    "KlingIdentifyFaceOperator",
    "KlingImageExpandOperator",
    "KlingImageOperator",
    "KlingImageRecognizeOperator",
    "KlingImageToVideoOperator",
    "KlingInitSelectionOperator",
    "KlingLipSyncOperator",
    "KlingMotionControlOperator",
    "KlingMultiElementsOperator",
    "KlingMultiImageToImageOperator",
    "KlingMultiImageToVideoOperator",
    "KlingMultiShotOperator",
    "KlingOmniImageOperator",
    "KlingOmniVideoOperator",
    "KlingPreviewSelectionOperator",
    "KlingReadOperator",
    "KlingSubmitOperator",
    "KlingTextToAudioOperator",
    "KlingTextToSpeechOperator",
    "KlingTextToVideoOperator",
    "KlingVideoExtendOperator",
    "KlingVideoToAudioOperator",
    "KlingVirtualTryOnOperator",
]
