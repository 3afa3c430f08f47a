using SdnEdge.Storage.Nbd;
using SdnEdge.Storage.Volumes;
using Xunit;

namespace SdnEdge.Storage.Tests.Nbd;

/// <summary>Every request field with every kind of bad value, against a table written down separately from the rules.</summary>
public sealed class RequestRulesTests
{
    private const BlockFeatures All = BlockFeatures.Write | BlockFeatures.Flush | BlockFeatures.Trim | BlockFeatures.WriteZeroes
        | BlockFeatures.FastZero | BlockFeatures.MultiConnection | BlockFeatures.Cache;

    private const uint Size = 1 << 20;

    [Theory]
    // An ordinary one of each.
    [InlineData(NbdCommand.Read, 0, 0, 4096, NbdError.None)]
    [InlineData(NbdCommand.Read, 0, Size - 1, 1, NbdError.None)]
    [InlineData(NbdCommand.Write, 0, 0, 4096, NbdError.None)]
    [InlineData(NbdCommand.Write, 1, 0, Size, NbdError.None)]
    [InlineData(NbdCommand.Flush, 0, 0, 0, NbdError.None)]
    [InlineData(NbdCommand.Trim, 1, 0, Size, NbdError.None)]
    [InlineData(NbdCommand.Cache, 0, 5, 7, NbdError.None)]
    [InlineData(NbdCommand.WriteZeroes, 1 | 2 | 16, 0, 512, NbdError.None)]
    [InlineData(NbdCommand.BlockStatus, 8, 0, Size, NbdError.None)]
    // Beyond the end: a write has no room there, all else is wrong.
    [InlineData(NbdCommand.Read, 0, Size - 1, 2, NbdError.Invalid)]
    [InlineData(NbdCommand.Read, 0, Size, 1, NbdError.Invalid)]
    [InlineData(NbdCommand.Write, 0, Size - 1, 2, NbdError.NoSpace)]
    [InlineData(NbdCommand.Write, 0, Size, 1, NbdError.NoSpace)]
    [InlineData(NbdCommand.WriteZeroes, 0, Size, 1, NbdError.NoSpace)]
    [InlineData(NbdCommand.Trim, 0, Size - 1, 2, NbdError.Invalid)]
    [InlineData(NbdCommand.Cache, 0, Size, 1, NbdError.Invalid)]
    [InlineData(NbdCommand.BlockStatus, 0, Size, 1, NbdError.Invalid)]
    // Sums that wrap round.
    [InlineData(NbdCommand.Read, 0, ulong.MaxValue, 1, NbdError.Invalid)]
    [InlineData(NbdCommand.Read, 0, ulong.MaxValue - 4095, 8192, NbdError.Invalid)]
    [InlineData(NbdCommand.Write, 0, ulong.MaxValue - 1, 2, NbdError.NoSpace)]
    [InlineData(NbdCommand.Trim, 0, ulong.MaxValue, uint.MaxValue, NbdError.Invalid)]
    [InlineData(NbdCommand.WriteZeroes, 0, 1, uint.MaxValue, NbdError.NoSpace)]
    [InlineData(NbdCommand.Read, 0, 1ul << 63, 4096, NbdError.Invalid)]
    // No length at all; a flush with one.
    [InlineData(NbdCommand.Read, 0, 0, 0, NbdError.Invalid)]
    [InlineData(NbdCommand.Write, 0, 0, 0, NbdError.Invalid)]
    [InlineData(NbdCommand.Trim, 0, 0, 0, NbdError.Invalid)]
    [InlineData(NbdCommand.WriteZeroes, 0, 0, 0, NbdError.Invalid)]
    [InlineData(NbdCommand.Cache, 0, 0, 0, NbdError.Invalid)]
    [InlineData(NbdCommand.BlockStatus, 0, 0, 0, NbdError.Invalid)]
    [InlineData(NbdCommand.Flush, 0, 1, 0, NbdError.Invalid)]
    [InlineData(NbdCommand.Flush, 0, 0, 1, NbdError.Invalid)]
    // Flags: of another command, not known.
    [InlineData(NbdCommand.Read, 1, 0, 1, NbdError.None)]
    [InlineData(NbdCommand.Read, 2, 0, 1, NbdError.Invalid)]
    [InlineData(NbdCommand.Read, 4, 0, 1, NbdError.None)]
    [InlineData(NbdCommand.Read, 8, 0, 1, NbdError.Invalid)]
    [InlineData(NbdCommand.Write, 2, 0, 1, NbdError.Invalid)]
    [InlineData(NbdCommand.Write, 4, 0, 1, NbdError.Invalid)]
    [InlineData(NbdCommand.Write, 32, 0, 1, NbdError.Invalid)]
    [InlineData(NbdCommand.Write, 0x8000, 0, 1, NbdError.Invalid)]
    [InlineData(NbdCommand.Flush, 2, 0, 0, NbdError.Invalid)]
    [InlineData(NbdCommand.Trim, 16, 0, 1, NbdError.Invalid)]
    [InlineData(NbdCommand.WriteZeroes, 8, 0, 1, NbdError.Invalid)]
    [InlineData(NbdCommand.BlockStatus, 4, 0, 1, NbdError.Invalid)]
    // Commands: the end of the session is none of these, a number that was given to RESIZE, unknown ones.
    [InlineData(NbdCommand.Disconnect, 0, 0, 0, NbdError.Invalid)]
    [InlineData((NbdCommand)8, 0, 0, 1, NbdError.Invalid)]
    [InlineData((NbdCommand)9, 0, 0, 0, NbdError.Invalid)]
    [InlineData((NbdCommand)0xffff, 0, 0, 1, NbdError.Invalid)]
    public void A_request_is_answered_as_the_protocol_document_says(object command, ushort flags, ulong offset, uint length, object error)
        => Assert.Equal((NbdError)error, Check((NbdCommand)command, flags, offset, length));

    [Fact]
    public void A_payload_beyond_the_largest_is_invalid_and_a_trim_of_that_length_is_not()
    {
        NbdSession session = Session(All, size: 1L << 40);
        foreach (NbdCommand command in new[] { NbdCommand.Read, NbdCommand.Write })
        {
            Assert.Equal(NbdError.None, Check(command, 0, 0, 32 << 20, session));
            Assert.Equal(NbdError.Invalid, Check(command, 0, 0, (32 << 20) + 1, session));
            Assert.Equal(NbdError.Invalid, Check(command, 0, 0, uint.MaxValue, session));
        }

        foreach (NbdCommand command in new[] { NbdCommand.Trim, NbdCommand.WriteZeroes, NbdCommand.Cache, NbdCommand.BlockStatus })
        {
            Assert.Equal(NbdError.None, Check(command, 0, 0, uint.MaxValue, session));
        }
    }

    [Theory]
    [InlineData(NbdCommand.Write)]
    [InlineData(NbdCommand.Trim)]
    [InlineData(NbdCommand.WriteZeroes)]
    public void Whatever_writes_is_not_permitted_on_a_read_only_export(object command)
    {
        NbdSession session = Session(All & ~BlockFeatures.Write);
        Assert.Equal(NbdError.NotPermitted, Check((NbdCommand)command, 0, 0, 512, session));
        Assert.Equal(NbdError.None, Check(NbdCommand.Read, 0, 0, 512, session));
        Assert.Equal(NbdError.None, Check(NbdCommand.Flush, 0, 0, 0, session));
    }

    [Fact]
    public void What_was_not_offered_or_negotiated_is_invalid()
    {
        NbdSession bare = Session(BlockFeatures.Write) with { Structured = false, BaseAllocation = false };
        Assert.Equal(NbdError.Invalid, Check(NbdCommand.Flush, 0, 0, 0, bare));
        Assert.Equal(NbdError.Invalid, Check(NbdCommand.Write, 1, 0, 1, bare));
        Assert.Equal(NbdError.Invalid, Check(NbdCommand.Trim, 0, 0, 1, bare));
        Assert.Equal(NbdError.Invalid, Check(NbdCommand.WriteZeroes, 0, 0, 1, bare));
        Assert.Equal(NbdError.Invalid, Check(NbdCommand.Cache, 0, 0, 1, bare));
        Assert.Equal(NbdError.Invalid, Check(NbdCommand.BlockStatus, 0, 0, 1, bare));
        Assert.Equal(NbdError.Invalid, Check(NbdCommand.Read, 4, 0, 1, bare));
        NbdSession slow = Session(All & ~BlockFeatures.FastZero);
        Assert.Equal(NbdError.Invalid, Check(NbdCommand.WriteZeroes, 16, 0, 1, slow));
    }

    [Theory]
    [InlineData(0, 512, NbdError.None)]
    [InlineData(512, 512, NbdError.None)]
    [InlineData(1, 512, NbdError.Invalid)]
    [InlineData(512, 1, NbdError.Invalid)]
    [InlineData(511, 513, NbdError.Invalid)]
    public void Offsets_and_lengths_are_whole_blocks(ulong offset, uint length, object error)
    {
        NbdSession session = Session(All, block: 512);
        foreach (NbdCommand command in new[]
            { NbdCommand.Read, NbdCommand.Write, NbdCommand.Trim, NbdCommand.WriteZeroes, NbdCommand.Cache, NbdCommand.BlockStatus })
        {
            Assert.Equal((NbdError)error, Check(command, 0, offset, length, session));
        }
    }

    [Fact]
    public void Each_result_of_a_device_has_its_error_value()
    {
        Assert.Equal([0u, 1, 5, 28, 22, 95, 12, 108],
            Enum.GetValues<BlockResult>().Select(result => (uint)NbdRequestRules.ErrorOf(result)));
        Assert.Equal(NbdError.Io, NbdRequestRules.ErrorOf((BlockResult)99));
    }

    private static NbdSession Session(BlockFeatures features, int block = 1, long size = Size)
        => new(new NbdExportInfo("vol", null, size, block, features), true, true, 32 << 20);

    private static NbdError Check(NbdCommand command, ushort flags, ulong offset, uint length, NbdSession? session = null)
        => NbdRequestRules.Check(new NbdRequest(NbdProtocol.RequestMagic, (NbdCommandFlags)flags, command, 1, offset, length),
            session ?? Session(All));
}
