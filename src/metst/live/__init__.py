"""Live use: a camera or a played recording, watched frame by frame.

``source`` reads frames in a thread of its own, ``session`` passes them through :class:`metst.stream.Stream`, ``status``
is what is known right now; ``display`` shows it in the terminal, ``window`` beside the picture, and ``outputs`` sends
it on.  Nothing is stored unless :class:`~metst.live.outputs.Tables` is among the outputs, and pictures never are.
"""
