"""Stage 2: frames become one face track, with landmarks, a validity mask and a quality per frame.

``tracker`` follows one person; ``models`` runs the two networks that find a face and its mesh;
``memory`` is what the tracker remembers of the person, the picture and the last meshes.
"""

from metst.face.tracker import Face, FaceFrame, FaceTracker, lie_on_faces, track_face

__all__ = ["Face", "FaceFrame", "FaceTracker", "lie_on_faces", "track_face"]
