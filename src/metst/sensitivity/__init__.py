"""What one camera, light, distance and codec allow: known movements planted into a recording, and found again.

``settings`` decide, ``moments`` finds where nothing moves, ``trials`` plans what is planted there, ``footage`` tracks
the face, ``calibration`` plants and analyses, ``psychometric`` fits the curve, ``summary`` and ``calibration_page`` say
it, ``many`` does so for several recordings.
"""
