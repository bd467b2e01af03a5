"""What keeps one bad input, a huge size or a habit of another package from doing harm.

``faults`` takes any error of one input and gives one line for people, so that the next input has its turn;
``limits`` are the sizes that files may claim; ``kernels`` keeps compiled loops on disk where that can be done;
``silence`` turns off what other packages would send or write by themselves.
"""
