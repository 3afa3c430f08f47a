using System.Runtime.InteropServices;

namespace SdnEdge.Linux;

internal static unsafe partial class Libc
{
    public const int PROT_READ = 1, PROT_WRITE = 2, MAP_SHARED = 1, MAP_POPULATE = 0x8000;

    [LibraryImport(Library, EntryPoint = "mmap", SetLastError = true)]
    public static partial void* Map(void* address, nuint length, int protection, int flags, int fd, nint offset);

    [LibraryImport(Library, EntryPoint = "munmap", SetLastError = true)]
    public static partial int Unmap(void* address, nuint length);

    [LibraryImport(Library, EntryPoint = "syscall", SetLastError = true)]
    public static partial nint SystemCall6(nint number, nint a, nint b, nint c, nint d, void* e, nint f);
}

/// <summary>
/// Many reads or writes of packets by one system call (io_uring), for the thread that made it. On a TAP, where a packet is a
/// call, that saves a third of the time; most of it because files are registered with the ring, which spares a process of
/// many threads the counting of references (bench netns). Each operation is tried at once and in order, and none waits: one
/// that would gives EAGAIN. Not there on old kernels or where a container forbids it; callers then read and write one by one.
/// <para>A registered file stays open as long as the ring has it, so who closes one must call <see cref="Forget"/>.</para>
/// </summary>
internal sealed unsafe class BatchRing
{
    /// <summary>Operations in a batch.</summary>
    public const int Capacity = 64;

    /// <summary>Files that can be registered: their numbers are 0 to this, less one.</summary>
    public const int MaxFiles = 64;

    private const nint SetupNumber = 425, EnterNumber = 426, RegisterNumber = 427;
    private const nint RegisterFiles = 2, RegisterFilesUpdate = 6;
    private const uint SetupSubmitAll = 1 << 7;
    private const byte FixedFile = 1;
    private const uint FeatureSingleMap = 1;
    private const nint OffsetRings = 0, OffsetEntries = 0x1000_0000;
    private const uint EnterGetEvents = 1;
    private const byte OpRead = 22, OpWrite = 23;
    private const int RwfNoWait = 8;

    // Rings of all threads, also of those that ended until their finalizer has run.
    private static readonly List<WeakReference<BatchRing>> All = [];

    [ThreadStatic]
    private static BatchRing? _mine;

    [ThreadStatic]
    private static bool _tried;

    private readonly int _fd;
    private readonly byte* _rings;
    private readonly nuint _ringsBytes;
    private readonly Entry* _entries;
    private readonly nuint _entriesBytes;
    private readonly uint* _submitHead;
    private readonly uint* _submitTail;
    private readonly uint _submitMask;
    private readonly uint* _completeHead;
    private readonly uint* _completeTail;
    private readonly uint _completeMask;
    private readonly Completion* _completions;
    private readonly int[] _results = new int[Capacity];
    private readonly bool[] _registered = new bool[MaxFiles];
    private readonly Lock _filesLock = new();
    private bool _closed;

    private BatchRing(int fd, in Parameters p)
    {
        _fd = fd;
        _ringsBytes = Math.Max(p.SubmitArray + (p.SubmitEntries * sizeof(uint)), p.CompleteEvents
            + (p.CompleteEntries * (uint)sizeof(Completion)));
        _entriesBytes = p.SubmitEntries * (uint)sizeof(Entry);
        _rings = (byte*)Libc.Map(null, _ringsBytes, Libc.PROT_READ | Libc.PROT_WRITE, Libc.MAP_SHARED | Libc.MAP_POPULATE, fd, OffsetRings);
        _entries = (Entry*)Libc.Map(null, _entriesBytes, Libc.PROT_READ | Libc.PROT_WRITE, Libc.MAP_SHARED | Libc.MAP_POPULATE, fd,
            OffsetEntries);
        if ((nint)_rings == -1 || (nint)_entries == -1) return;
        _submitHead = (uint*)(_rings + p.SubmitHead);
        _submitTail = (uint*)(_rings + p.SubmitTail);
        _submitMask = *(uint*)(_rings + p.SubmitMask);
        _completeHead = (uint*)(_rings + p.CompleteHead);
        _completeTail = (uint*)(_rings + p.CompleteTail);
        _completeMask = *(uint*)(_rings + p.CompleteMask);
        _completions = (Completion*)(_rings + p.CompleteEvents);

        // Entries are used in the order of their places, so the array that says which are submitted never changes.
        uint* array = (uint*)(_rings + p.SubmitArray);
        for (uint i = 0; i < p.SubmitEntries; i++) array[i] = i;

        int* none = stackalloc int[MaxFiles];
        new Span<int>(none, MaxFiles).Fill(-1);
        IsUsable = Libc.SystemCall6(RegisterNumber, fd, RegisterFiles, (nint)none, MaxFiles, null, 0) >= 0;
    }

    /// <summary>Gives the kernel's side back when the thread has ended.</summary>
    ~BatchRing()
    {
        lock (_filesLock)
        {
            _closed = true;
            if ((nint)_rings != -1) Libc.Unmap(_rings, _ringsBytes);
            if ((nint)_entries != -1) Libc.Unmap(_entries, _entriesBytes);
            Libc.Close(_fd);
        }
    }

    /// <summary>The calling thread's ring, made at the first use; null where there is none to be had.</summary>
    public static BatchRing? OfThisThread
    {
        get
        {
            if (_tried) return _mine;
            _tried = true;
            return _mine = Create();
        }
    }

    /// <summary>Operations added and not run yet.</summary>
    public int Count { get; private set; }

    private bool IsUsable { get; }

    /// <summary>What operation <paramref name="index"/> of the last run gave: bytes, or an error number, negative.</summary>
    public int Result(int index) => _results[index];

    /// <summary>Makes file <paramref name="number"/> known as descriptor <paramref name="fd"/>; once is enough. False when the kernel does
    /// not take it.</summary>
    public bool Know(int number, int fd)
    {
        if (Volatile.Read(ref _registered[number])) return true;
        lock (_filesLock)
        {
            if (_closed || !Update(number, fd)) return false;
            Volatile.Write(ref _registered[number], true);
            return true;
        }
    }

    /// <summary>Has every thread's ring let go of file <paramref name="number"/>. Nobody may be reading or writing it.</summary>
    public static void Forget(int number)
    {
        lock (All)
        {
            All.RemoveAll(static r => !r.TryGetTarget(out _));
            foreach (WeakReference<BatchRing> reference in All)
            {
                if (!reference.TryGetTarget(out BatchRing? ring)) continue;
                lock (ring._filesLock)
                {
                    if (ring._closed || !ring._registered[number]) continue;
                    ring.Update(number, -1);
                    Volatile.Write(ref ring._registered[number], false);
                }
            }
        }
    }

    /// <summary>Adds a read of a known file; at most <see cref="Capacity"/> operations a run.</summary>
    public void Read(int number, byte* buffer, int length) => Add(OpRead, number, buffer, length);

    /// <summary>Adds a write to a known file; at most <see cref="Capacity"/> operations a run.</summary>
    public void Write(int number, byte* buffer, int length) => Add(OpWrite, number, buffer, length);

    /// <summary>Runs what was added, in order, and has all results when it returns. False when the kernel refused the whole: nothing was
    /// done.</summary>
    public bool Run()
    {
        int count = Count;
        Count = 0;
        Volatile.Write(ref *_submitTail, *_submitTail + (uint)count);
        int done = 0;
        while (done < count)
        {
            uint left = *_submitTail - Volatile.Read(ref *_submitHead);
            nint entered = Libc.SystemCall6(EnterNumber, _fd, (nint)left, count - done, (nint)EnterGetEvents, null, 0);
            if (entered < 0 && Marshal.GetLastPInvokeError() is not (Errno.EINTR or Errno.EAGAIN or Errno.EBUSY))
            {
                // Refused before anything was taken: take the entries back. Refused later the kernel may still hold buffers,
                // which nothing but the thread's end makes safe.
                if (done > 0 || *_submitTail - Volatile.Read(ref *_submitHead) != (uint)count) throw LinuxException.Last(
                    "complete a batch of packets");
                Volatile.Write(ref *_submitTail, *_submitTail - (uint)count);
                return false;
            }

            uint head = *_completeHead, tail = Volatile.Read(ref *_completeTail);
            for (; head != tail; head++, done++)
            {
                ref Completion completion = ref _completions[head & _completeMask];
                _results[(int)completion.UserData] = completion.Result;
            }

            Volatile.Write(ref *_completeHead, head);
        }

        return true;
    }

    private static BatchRing? Create()
    {
        Parameters p = new() { Flags = SetupSubmitAll };
        int fd = (int)Libc.SystemCall6(SetupNumber, Capacity, (nint)(&p), 0, 0, null, 0);
        if (fd < 0) return null;
        if ((p.Features & FeatureSingleMap) == 0)
        {
            Libc.Close(fd);
            return null;
        }

        var ring = new BatchRing(fd, p);
        if (!ring.IsUsable) return null;
        lock (All) All.Add(new WeakReference<BatchRing>(ring, trackResurrection: true));
        return ring;
    }

    private bool Update(int number, int fd)
    {
        FilesUpdate update = new() { Offset = (uint)number, Files = (ulong)(&fd) };
        return Libc.SystemCall6(RegisterNumber, _fd, RegisterFilesUpdate, (nint)(&update), 1, null, 0) == 1;
    }

    private void Add(byte operation, int number, byte* buffer, int length)
    {
        uint place = (*_submitTail + (uint)Count) & _submitMask;
        Entry* entry = _entries + place;
        *entry = new Entry
        {
            Operation = operation, EntryFlags = FixedFile, Fd = number, Address = (ulong)buffer, Length = (uint)length, Flags =
                RwfNoWait, UserData = (ulong)Count,
        };
        Count++;
    }

    /// <summary><c>struct io_uring_sqe</c>.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 64)]
    private struct Entry
    {
        [FieldOffset(0)]
        public byte Operation;

        [FieldOffset(1)]
        public byte EntryFlags;

        [FieldOffset(4)]
        public int Fd;

        [FieldOffset(16)]
        public ulong Address;

        [FieldOffset(24)]
        public uint Length;

        [FieldOffset(28)]
        public int Flags;

        [FieldOffset(32)]
        public ulong UserData;
    }

    /// <summary><c>struct io_uring_cqe</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Completion
    {
        public ulong UserData;
        public int Result;
        public uint Flags;
    }

    /// <summary><c>struct io_uring_files_update</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct FilesUpdate
    {
        public uint Offset;
        public uint Reserved;
        public ulong Files;
    }

    /// <summary><c>struct io_uring_params</c>, with its two tables of offsets.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 120)]
    private struct Parameters
    {
        [FieldOffset(0)]
        public uint SubmitEntries;

        [FieldOffset(4)]
        public uint CompleteEntries;

        [FieldOffset(8)]
        public uint Flags;

        [FieldOffset(20)]
        public uint Features;

        [FieldOffset(40)]
        public uint SubmitHead;

        [FieldOffset(44)]
        public uint SubmitTail;

        [FieldOffset(48)]
        public uint SubmitMask;

        [FieldOffset(64)]
        public uint SubmitArray;

        [FieldOffset(80)]
        public uint CompleteHead;

        [FieldOffset(84)]
        public uint CompleteTail;

        [FieldOffset(88)]
        public uint CompleteMask;

        [FieldOffset(100)]
        public uint CompleteEvents;
    }
}
