from morphobench.contents import COMPARTMENTS, Evaluation, PanelColumn, TrackContents

__all__ = ["COMPARTMENTS", "Evaluation", "PanelColumn", "TrackContents"]
