"""Why a classifier said what it said: evidence in the image, in the metadata, in known lesions."""

from clsstage.explanations.attribution import metadata_attributions
from clsstage.explanations.deletion import Deletion, deletion
from clsstage.explanations.evidence import evidence, evidence_methods
from clsstage.explanations.inside import Inside, inside
from clsstage.explanations.neighbours import Neighbour, NeighbourIndex

__all__ = [
    "Deletion",
    "Inside",
    "Neighbour",
    "NeighbourIndex",
    "deletion",
    "evidence",
    "evidence_methods",
    "inside",
    "metadata_attributions",
]
