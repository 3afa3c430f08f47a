using System.Runtime.CompilerServices;

namespace SdnEdge.Core.Rib;

/// <summary>
/// Entries by number, in pages that never move: a million of them grow without a copy and without a large object left behind
/// for the collector. Only the first page begins small and is copied as it grows: most tables stay so. A struct, so that a
/// table reaches its entries without another step: keep it in a field that is not readonly.
/// </summary>
/// <typeparam name="T">An entry.</typeparam>
internal struct PagedArray<T>
{
    /// <summary>Entries of the first page at first.</summary>
    public const int FirstSize = 16;

    private const int PageBits = 10;
    private const int PageSize = 1 << PageBits;

    private T[][] _pages = [new T[FirstSize]];

    /// <summary>No entries.</summary>
    public PagedArray()
    {
    }

    /// <summary>All numbers given are below this.</summary>
    public int End { get; private set; }

    /// <summary>An entry; the reference is good until the next <see cref="Add"/>.</summary>
    public readonly ref T this[int number]
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => ref _pages[number >> PageBits][number & (PageSize - 1)];
    }

    /// <summary>The number of a new entry, which is <c>default</c>.</summary>
    public int Add()
    {
        int number = End++, page = number >> PageBits;
        if (page == _pages.Length || _pages[page] is null)
        {
            if (page == _pages.Length) Array.Resize(ref _pages, 2 * page);
            _pages[page] = new T[PageSize];
        }
        else if (number == _pages[page].Length)
        {
            Array.Resize(ref _pages[page], 2 * number);
        }

        return number;
    }
}
