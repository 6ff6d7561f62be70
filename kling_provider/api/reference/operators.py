"""Which operator is for which endpoint, by name: the tables of Kling import nothing of Airflow's."""

from __future__ import annotations

from collections.abc import Mapping

from kling_provider.api.endpoints import Endpoint

#: Operators that are for one endpoint. The tests hold them against the classes.
OPERATORS: Mapping[str, str] = {
    "text2video": "KlingTextToVideoOperator",
    "image2video": "KlingImageToVideoOperator",
    "multi-image2video": "KlingMultiImageToVideoOperator",
    "omni-video": "KlingOmniVideoOperator",
    "motion-control": "KlingMotionControlOperator",
    "video-extend": "KlingVideoExtendOperator",
    "effects": "KlingEffectsOperator",
    "avatar": "KlingAvatarOperator",
    "identify-face": "KlingIdentifyFaceOperator",
    "advanced-lip-sync": "KlingAdvancedLipSyncOperator",
    "lip-sync": "KlingLipSyncOperator",
    "multi-elements/init-selection": "KlingInitSelectionOperator",
    "multi-elements/add-selection": "KlingAddSelectionOperator",
    "multi-elements/delete-selection": "KlingDeleteSelectionOperator",
    "multi-elements/clear-selection": "KlingClearSelectionOperator",
    "multi-elements/preview-selection": "KlingPreviewSelectionOperator",
    "multi-elements": "KlingMultiElementsOperator",
    "text-to-audio": "KlingTextToAudioOperator",
    "video-to-audio": "KlingVideoToAudioOperator",
    "tts": "KlingTextToSpeechOperator",
    "images/generations": "KlingImageOperator",
    "images/omni-image": "KlingOmniImageOperator",
    "images/multi-image2image": "KlingMultiImageToImageOperator",
    "images/editing/expand": "KlingImageExpandOperator",
    "kolors-virtual-try-on": "KlingVirtualTryOnOperator",
    "image-recognize": "KlingImageRecognizeOperator",
    "ai-multi-shot": "KlingMultiShotOperator",
    "advanced-custom-elements": "KlingCustomElementOperator",
    "delete-elements": "KlingDeleteElementOperator",
    "custom-voices": "KlingCustomVoiceOperator",
    "delete-voices": "KlingDeleteVoiceOperator",
}


def operator_for(row: Endpoint) -> str:
    """Name the operator that asks an endpoint.

    :param row: of the endpoint table.
    """
    return OPERATORS.get(row.name, "KlingReadOperator" if row.work == "read" else "KlingSubmitOperator")
