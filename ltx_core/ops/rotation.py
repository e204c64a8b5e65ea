"""The rotation that some files apply to groups of columns before they quantise ("convrot").

H(4) has ones and, on the diagonal from top right, minus ones; H(4^m) are its Kronecker powers, over
the square root of the size. H is symmetric and its own inverse, so turning twice changes nothing.
"""

from torch import Tensor


def rotated(x: Tensor, group: int) -> Tensor:
    """Multiply each run of `group` columns of `x` [..., K] by H(group), in the dtype of `x`.

    `group` is a power of four that divides K.
    """
    turned = x
    stride = 1
    while stride < group:
        v = turned.unflatten(-1, (-1, 4, stride))  # [..., K / (4 stride), 4, stride]
        # A row of H(4) adds all four and takes one twice away; the half is the square root of 4.
        turned = (v.sum(-2, keepdim=True).mul(0.5) - v.flip(-2)).flatten(-3)
        stride *= 4
    return turned


def is_group(size: int, width: int) -> bool:
    """Say whether columns of this width can be turned in groups of `size`."""
    power = 1
    while power < size:
        power *= 4
    return power == size > 1 and width % size == 0
