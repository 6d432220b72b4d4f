"""Imagination made visible: decoded frames of what a model imagines, compared with what was recorded."""

from lewm_cli.decode.decode_result import GAP, SHOWN, DecodeResult, Filmstrip, Shown, StepScore, sheet_of
from lewm_cli.decode.imagined_frames import measure_decoding
